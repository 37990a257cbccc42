"""The report: what a notebook may hold, when it is refused, and the committed pair of files."""

import io
import json
import os
import re
import subprocess
import sys
import unicodedata
from functools import cache
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from pypdf import PdfReader
from report_samples import (
    SVG,
    base64_of,
    code,
    course_notebook,
    display,
    figure,
    grid,
    markdown,
    notebook,
    picture,
    raw_cell,
    shown,
    stream,
    table,
    text,
)

from report import files, markup, submit
from report.__main__ import main
from report.exporter import TypstPDFExporter, notebook_hash
from report.freshness import ReportError, bth2, staleness
from report.markup import clean

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "MSSV_BaiThucHanh2.ipynb"
PDF = ROOT / "report" / "MSSV_BaiThucHanh2.pdf"


def export(nb, folder="") -> tuple[PdfReader, list[str]]:
    """Return the PDF of a notebook and what was replaced in it; Typst checks PDF/UA-1 and PDF/A-2a as it writes."""
    pdf, resources = TypstPDFExporter().from_notebook_node(nb, {"metadata": {"name": "Sổ", "path": str(folder)}})
    return PdfReader(io.BytesIO(pdf)), resources["notes"]


def render(*cells, folder="") -> PdfReader:
    """Return the PDF of a notebook or of a foreign one with these cells; nothing in it may have been replaced."""
    nb = cells[0] if "cells" in cells[0] else notebook(*cells)
    reader, notes = export(nb, folder)
    assert not notes, f"Typst refused parts of it: {notes}"
    return reader


def page_text(reader: PdfReader, page: int | None = None) -> str:
    """Return the text of a page, or of all pages, with every run of white space as one space."""
    pages = reader.pages if page is None else [reader.pages[page]]
    joined = " ".join(p.extract_text() for p in pages).replace("\u200b", "")
    return " ".join(unicodedata.normalize("NFKC", joined).split())


def says(found: str, present, absent=()) -> None:
    """Check what stands in a text and what does not."""
    for part in present:
        assert part in found, f"{part!r} is not in {found!r}"
    for part in absent:
        assert part not in found, f"{part!r} should have been left out of {found!r}"


def structure(reader: PdfReader, role: str) -> list[dict]:
    """Return the elements of a role in the tag tree, in reading order."""

    def visit(node):
        node = node.get_object()
        if isinstance(node, list):
            return [found for child in node for found in visit(child)]
        here = [node] if isinstance(node, dict) and node.get("/S") == role else []
        return here + (visit(node["/K"]) if isinstance(node, dict) and "/K" in node else [])

    return visit(reader.trailer["/Root"]["/StructTreeRoot"])


def bookmarks(outline) -> list[str]:
    """Return the titles of the bookmarks of all levels, in order."""
    return [title for entry in outline for title in (bookmarks(entry) if isinstance(entry, list) else [entry.title])]


def goals(reader: PdfReader) -> list[str]:
    """Return where the links lead: ``"inside"`` or an address."""
    notes = [note.get_object() for page in reader.pages for note in page.get("/Annots", [])]
    return [note.get("/A", {}).get("/URI", "inside") for note in notes]


def pieces(reader: PdfReader) -> list[tuple]:
    """Return of each piece of text: page, height on it, left edge, right edge as it must at least be, text, font."""
    found = []
    for number, page in enumerate(reader.pages):

        def visit(text_, cm, tm, font, size, number=number):
            text_ = text_.replace("\u200b", "").strip()
            if text_:
                left, size = cm[4] + tm[4] * cm[0], size * tm[0] * cm[0]
                right = left + 0.36 * size * len(text_.split("\n")[0])
                found.append(
                    (number, round(cm[5] + tm[5] * cm[3]), left, right, text_, (font or {}).get("/BaseFont", ""))
                )

        page.extract_text(visitor_text=visit)
    return found


def stays_on_the_page(reader: PdfReader) -> None:
    """Check that no text reaches into the right margin and none begins before its neighbour has ended."""
    found = sorted(pieces(reader))
    assert max(piece[3] for piece in found) <= 595 - 50, "text reaches into the margin"
    over = [(a[4], b[4]) for a, b in pairwise(found) if a[:2] == b[:2] and b[2] < a[3] - 1]
    assert not over, f"text stands over text: {over}"


# ---------------------------------------------------------------- what a notebook may hold

FRAME = (
    "<div>\n<style scoped>\n    .dataframe tbody tr th {\n        vertical-align: top;\n    }\n</style>\n"
    "<table border='1' class='dataframe'>"
    "<thead><tr style='text-align: right;'><th></th><th>tên_cột</th><th>điểm</th></tr></thead>"
    "<tbody><tr><th>0</th><td>#a$</td><td>1.25</td></tr>"
    "<tr><th>1</th><td>*b_</td><td>-3e-05</td></tr></tbody></table></div>"
)
SPECIAL = "# $ @tag < > _ * \\ ` ~ \" ' [ ] / // = - + #let x = 1 #panic() $5 a_b_c"
SPECIAL_MARKDOWN = SPECIAL.replace("\\", "\\\\").replace("`", "\\`").replace("<", "\\<").replace("$", "\\$")
GIF, PLOTLY, WIDGET = "image/gif", "application/vnd.plotly.v1+json", "application/vnd.jupyter.widget-view+json"
OBJECT = "<IPython.core.display.HTML object>"
ONLY_THERE = "chỉ xem được trong notebook"
XARRAY = (
    "<div><svg style='position: absolute; width: 0; height: 0'><defs><symbol id='i'/></defs></svg>"
    "<pre class='xr-text-repr-fallback'>&lt;xarray.Dataset&gt; hai lần</pre><div style='display:none'><ul><li>"
    "<input type='checkbox'><label>Dimensions:</label></li></ul><img src='data:image/png;base64,AAAA'></div></div>"
)
COLAB = (
    f"<div>{FRAME}<div class='colab-df-buttons'><button title='nút' style='display:none;'>"
    "<svg height='24px' width='24px'><path d='M0 0h24v24'/></svg>bấm</button><script>const q = 1</script></div></div>"
)
MAP = (
    "<div><span style='color:#565656'>Make this Notebook Trusted to load map: File -> Trust Notebook</span>"
    "<iframe srcdoc='x'></iframe></div>"
)
VIDEO = "<video controls><source src='data:video/mp4;base64,AA'>Your browser does not support the video tag.</video>"


def estimator() -> dict:
    """Return what scikit-learn shows of a pipeline."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    pipeline = make_pipeline(LogisticRegression(C=2))
    return {"text/html": pipeline._repr_html_(), "text/plain": repr(pipeline)}


def animation() -> dict:
    """Return what matplotlib shows of an animation."""
    from matplotlib.animation import FuncAnimation
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(2, 1))
    (line,) = drawing.subplots().plot([1, 2])
    return {
        "text/html": FuncAnimation(drawing, lambda i: line.set_ydata([i, 2]), frames=2).to_jshtml(),
        "text/plain": OBJECT,
    }


# name: cell or cells, what the PDF's text holds, what it does not
# fmt: off
CONTENTS = {
    "special characters in text": (markdown("Chữ: " + SPECIAL_MARKDOWN), [SPECIAL], []),
    "special characters in a heading": (markdown("## Mục # $ @ \\< > _ ~ [x] = #panic()"),
        ["Mục # $ @ < > _ ~ [x] = #panic()"], []),
    "special characters in code and output": (code(f"# {SPECIAL}", stream(f"in ra: {SPECIAL}\n")), [f"# {SPECIAL}",
        f"in ra: {SPECIAL}"], []),
    "Typst and Markdown at line starts": (
        markdown("= a\n\n/ b: c\n\n#set page()\n\n// d\n\n**đ**.e *f*[g] *h*(i) `k`.l"),
        ["= a", "/ b: c", "#set page()", "// d", "đ.e f[g] h(i) k.l"], []),
    "dollars that are no formula": (markdown("giá $5 và $10."), ["giá $5 và $10."], []),
    "formulas": (markdown("$\\|W\\|_2$ và\n\n$$\\sum_i y_i$$\n\n\\begin{align}\na&=b\\\\c&=d\n\\end{align}"), ["‖W",
        "∑", "a = b c = d"], ["\\begin", "$"]),
    "formulas that cannot be read cost themselves": (markdown("### Còn\n\n$\\badmacro{x}$ rồi $f$(x) và $g$.h"),
        ["Còn \\badmacro{x} rồi f(x) và g.h"], ["#"]),
    "formulas in words that pandoc or Typst has otherwise": (
        markdown("$\\texttt{ab}\\cap\\odot\\otimes \\dbinom nk \\nonumber$ $\\textcolor{blue}{c}$ ${\\rm argmin}$"),
        ["ab ∩ ⊙ ⊗", "c argmin"], ["Mono", "\\"]),
    "macros of earlier cells": (
        [markdown("$$\\newcommand{\\vect}[1]{\\boldsymbol{#1}}\\DeclareMathOperator{\\argmin}{arg\\,min}$$"),
        markdown("$\\def\\R{\\mathbb R}\\vect{w} \\in \\R$"), markdown("$\\argmin \\R$")], ["w ∈ R", "arg min"], ["\\",
        "vect", "newcommand"]),
    "labels, tags and what cites them": (
        [markdown("### Trước\n\n$$L = 1 \\label{eq:ce}$$\n\n"
        "\\begin{align}\na&=b\\tag{A}\\label{a}\\\\c&=d\n\\end{align}"),
        markdown("Xem $\\eqref{eq:ce}$, (\\ref{a}), \\eqref{a} và $x = \\eqref{a}$.")], ["Trước L = 1 (1)",
        "a = b (A)", "Xem (1), (A), (A) và x = (A)."], ["label", "tag", "eqref", "eq:ce"]),
    "an environment that begins a line": (
        markdown("$E = \\frac{1}{2}\n\\begin{bmatrix}\n1 & 2 \\\\\n- 3 & 4\n\\end{bmatrix}\n+ 1$ sau"),
        ["E =", "sau"], ["$", "begin", "bmatrix", "•"]),
    "formulas with nothing inside": (markdown("a $$ $$ b $$$$ c $ $ d"), ["a", "b", "c", "d"], []),
    "formulas with blanks inside the dollars": (
        markdown("Hệ số $ (\\lambda) $ và $ x $; giá $ 5 hay $ 6; `$ (\\mu) $`"),
        ["Hệ số (λ) và x; giá $ 5 hay $ 6; $ (\\mu) $"], ["lambda"]),
    "a table right below text, with breaks and formulas": (
        markdown("Ở bảng:\n| $\\|W\\|$ | b |\n|:--|--:|\n| một<br>hai $|x|$ | `c \\| d` |\n\n"
        "> trích\n> |e|\n> |-|\n> |f|\n"),
        ["Ở bảng: ‖W", "một hai | x |", "c | d", "trích e f"], ["|:--", "|-|", "<br>"]),
    "lists": (markdown("chữ\n- một\n  - hai\n    1. ba\n- [x] xong\n- [ ] chưa"), ["• một", "‣ hai", "1. ba", "xong",
        "chưa"], ["[x]"]),
    "lists of other kernels": (
        shown({"text/html": "<dl><dt>$ten</dt><dd><ol class=list-inline><li>'a_1'</li><li>'b_2'</li></ol></dd></dl>"}),
        ["$ten 'a_1' · 'b_2'"], []),
    "links": (markdown("[một](#đâu-đó) [hai](tep.csv) [ba](http://a.vn/?x=1&y_z=2#t) <https://b.vn/_c_>"),
        ["một hai ba https://b.vn/_c_"], ["tep.csv"]),
    "HTML in Markdown": (
        markdown("<b>đậm</b> H<sub>2</sub>O $x^2$<br>dòng\n\n<div align=center>\n\n**giữa**\n\n</div>\n\n"
        "<details><summary>tóm tắt</summary>kỹ</details><!-- ẩn --><script>alert(1)</script>\n\n"
        "<span>$y^2$</span> sau <div><table><tr><th>A</th></tr><tr><td>7</td></tr></table></div>"), ["đậm H2O x2",
        "dòng", "giữa", "tóm tắt", "kỹ", "y2 sau", "A 7"], ["<b>", "ẩn", "alert", "$"]),
    "a table as HTML": (shown({"text/html": FRAME, "text/plain": "không dùng"}),
        ["tên_cột điểm 0 #a$ 1.25 1 *b_ −3e-05"], ["không dùng", "vertical-align"]),
    "a table as Markdown": (shown({"text/markdown": "| a | b |\n|:--|--:|\n| `x\\|y` | 1,5 |\n| cuối | 2,5 |"}),
        ["a b x|y 1,5 cuối 2,5"], ["|:--"]),
    "LaTeX": (shown({"text/latex": "$\\displaystyle x^{2} + 1$"}), ["x2 + 1"], ["displaystyle"]),
    "JSON": (shown({"application/json": {}, "text/plain": "{'a': 1}"}), ["{'a': 1}"], []),
    "several forms: what Jupyter shows": ([shown({"text/html": "<i>là HTML</i>", "text/latex": "là LaTeX",
        "text/markdown": "là Markdown", "text/plain": "p"}), shown({"text/latex": "kiểu $y$",
        "image/png": base64_of(picture(9, 9)), "text/plain": "chữ"})], ["là HTML", "kiểu y"], ["LaTeX", "Markdown",
        "chữ"]),
    "HTML with nothing to read": ([shown({"text/html": "<script>1</script>", "text/plain": "chữ thay"}),
        shown({"text/html": "<style>.a{width:1px}</style>", "text/plain": OBJECT}),
        shown({"application/javascript": "alert(1)", "text/plain": OBJECT.replace("HTML", "Javascript")})],
        ["chữ thay"], ["script", OBJECT, "width", "alert"]),
    "HTML beside a script": (shown({"text/html": "<b>Kết quả</b><script>1</script>", "text/plain": OBJECT}),
        ["Kết quả"], []),
    "a widget": (shown({WIDGET: {}, "text/plain": "HBox()"}), [ONLY_THERE], ["HBox"]),
    "a bar of progress": (shown({WIDGET: {}, "text/plain": "  0%|    | 0/10 [00:00<?]"}), [], ["0%", ONLY_THERE]),
    "a Plotly figure": (shown({PLOTLY: {"data": []}}), [f"(plotly): {ONLY_THERE}"], []),
    "a Plotly figure with HTML": (shown({PLOTLY: {},
        "text/html": "<div><script>Plotly.newPlot()</script><div class=p></div></div>"}), [f"(plotly): {ONLY_THERE}"],
        ["newPlot"]),
    "a map and a video": ([shown({"text/html": MAP, "text/plain": "<Map at 0x7f>"}), shown({"text/html": VIDEO,
        "text/plain": OBJECT})], [f"{ONLY_THERE}] x [Nội dung"], ["Trust", "0x7f", "support", OBJECT]),
    "an estimator of scikit-learn": (shown(estimator()), ["Pipeline(steps="], ["rerun", "In a Jupyter", "Parameters"]),
    "an animation of matplotlib": (shown(animation()), [], ["Once", "Loop", "Reflect", OBJECT, ONLY_THERE]),
    "HTML with its own fall-back": (shown({"text/html": XARRAY, "text/plain": "<xarray.Dataset>\nDimensions: 2"}),
        ["<xarray.Dataset> Dimensions: 2"], ["hai lần", "Dimensions:Dim", "[Hình"]),
    "a data frame of Colab": (shown({"text/html": COLAB, "text/plain": "p"}), ["tên_cột điểm 0 #a$"], ["nút", "bấm",
        "const"]),
    "a drawing inside HTML": (
        shown({"text/html": f"<table><tr><td>Bytes</td><td>{SVG}<svg width='16'><path/></svg></td></tr></table>"}),
        ["Bytes"], ["[Hình"]),
    "ANSI colours, backspaces, carriage returns": (code("x",
        stream("\x1b[31mđà\x1b[0m \x07chuông\n10%\r 50%\r100%\nso 1.5 \b, sau\n-\b \bxong N\bNA\bA\nabcd"),
        stream("ef\rxy")), ["đà chuông 100% so 1.5, sau xong NA xycdef"], ["[31m", "50%"]),
    "raw cells": (raw_cell("\\documentclass #raw <b>"), ["\\documentclass #raw <b>"], []),
    "another language": (code('%%bash\necho $HOME "#{x}" `ls`'), ['echo $HOME "#{x}" `ls`'], []),
    "fenced code": (markdown("````js\nlet s = `#{y}`; // ```\n\\begin{align}\n````\n\n    thụt # vào"),
        ["let s = `#{y}`; // ```", "\\begin{align}", "thụt # vào"], ["$$"]),
    "pictures that are not there": (markdown("![b](khong-co.png) ![c](https://a.vn/c.png)"), ["[Hình: b] [Hình: c]"],
        []),
    "pictures that are none": (markdown("![hỏng](attachment:i.png) *vẫn còn*",
        attachments={"i.png": {"image/png": base64_of(b"no")}}), ["[Hình: hỏng] vẫn còn"], ["![", "*vẫn"]),
    "attachments, however their names are spelt": ([markdown(f"{i} {link}",
        attachments={name: {"image/png": base64_of(picture(9, 9))}}) for i, (link,
        name) in enumerate([("![a](attachment:i.png)", "i.png"), ("![a](attachment:a b.png)", "a b.png"),
        ("![a](<attachment:a b.png>)", "a b.png"), ("![a](attachment:a%20b.png)", "a%20b.png"),
        ("![a](attachment:a%20b.png)", "a b.png"), ('<img src="attachment:a b.png">', "a b.png"),
        ("![a](attachment:%C4%91%E1%BB%93.png)", unicodedata.normalize("NFD", "đồ.png"))])], ["0", "6"], ["Hình", "![",
        "attachment"]),
    "emoji and other scripts": ([markdown("vui 🎉 👩‍🚀 ✅ 日 và `🎉` $🎉$ ✓ ✗ ≈ →"), code('print("🎉")', stream("🚀\n"))],
        ["vui [party popper] [woman][rocket] [white heavy check mark] [U+65E5]", "✓ ✗ ≈ →", 'print("[party popper]")'],
        ["\ufffd"]),
    "what only PDF/UA and PDF/A forbid": ([markdown("##"), markdown("## ![](khong-co.png)\n\nđề mục là ảnh"),
        code("print('\ue0b0')", stream("\ufeffMSSV \uffff\ue0b0 hết")), shown({"text/html": FRAME.replace("điểm",
        "\ufeffĐiểm")})], ["đề mục là ảnh", "print('[U+E0B0]')", "MSSV [U+E0B0] hết", "tên_cột Điểm"], []),
    "front matter that is none": (markdown("---\na: [b\n---\nthân"), ["a: [b", "thân"], []),
    "folds and tags of others": ([code("nguồn_1", stream("ra 1"), jupyter={"source_hidden": True}), code("nguồn_2",
        stream("RA 2"), jupyter={"outputs_hidden": True}), code("nguồn_3", stream("ra 3"), tags=["remove-input"]),
        code("nguồn_4", stream("RA 4"), tags=["remove_cell"]), code("#| echo: false\nnguồn_5", stream("ra 5")),
        code("nguồn_6", stream("RA 6"), tags=["remove-output"])], ["ra 1 nguồn_2 ra 3 ra 5 nguồn_6"], ["RA", "nguồn_1",
        "nguồn_3", "nguồn_4", "nguồn_5"]),
}
# fmt: on


@cache
def contents() -> dict[str, str]:
    """Return the text of each case: all stand in one PDF, behind their numbers."""
    cells = [markdown("Mở đầu.")]
    for i, (more, *_) in enumerate(CONTENTS.values()):
        cells += [markdown(f"Trường hợp {i}:"), *(more if isinstance(more, list) else [more])]
    found = re.sub(r" ?Trang \d+ / \d+( Sổ)?", "", page_text(render(*cells, markdown("Trường hợp cuối"))))
    return dict(zip(CONTENTS, re.split(r"Trường hợp (?:\d+:|cuối)", found)[1:], strict=False))


@pytest.mark.parametrize("case", CONTENTS)
def test_content_becomes_text(case):
    _, present, absent = CONTENTS[case]
    says(contents()[case], present, absent)


def test_cells_left_open_end_there_and_each_has_its_own_notes():
    reader = render(
        markdown("<div><b>mở\n\nvẫn đọc được<table><tr><td>ô"),
        markdown("```\ncode không đóng"),
        markdown("**sau** [a][1] chú[^1]\n\n> trích\n\n[^1]: lời một"),
        markdown("cuối chú[^1]\n\n[^1]: lời hai\n\n[1]: http://a.vn"),
    )
    says(page_text(reader), ["vẫn đọc được", "sau [a][1]", "trích", "lời một", "lời hai"], ["<", "[^1]"])


def test_notebooks_with_nothing_in_them_and_of_later_formats():
    assert len(render(markdown(""), code(""), raw_cell("")).pages) == len(render(notebook()).pages) == 1
    later = notebook(code("x"), markdown("sau"))
    later.nbformat_minor = 99
    later.cells[0].outputs.append(nbformat.from_dict({"output_type": "future output", "metadata": {}}))
    assert "sau" in page_text(render(later))


TONES = ("", "\u0300", "\u0301", "\u0303", "\u0309", "\u0323")
LETTERS = [unicodedata.normalize("NFC", vowel + tone) for vowel in "aăâeêioôơuưy" for tone in TONES] + ["đ"]
LETTERS = [letter for both in LETTERS for letter in (both, both.upper()) if not letter.isascii()]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_every_vietnamese_letter_is_drawn_by_one_font_and_copied_as_it_is(form):
    lines = ["".join(LETTERS[i : i + 12]) for i in range(0, len(LETTERS), 12)]
    text_ = unicodedata.normalize(form, "\n".join(lines))
    cells = "".join(f"| `{line}` | {line} |\n" for line in text_.split("\n"))
    reader = render(code(f'"""{text_}"""', stream(text_)), markdown(f"| mã | chữ |\n|:--|:--|\n{cells}"))
    copied = reader.pages[0].extract_text()
    for line in lines:
        assert copied.count(line) == 4, f"{line} is copied as {copied!r}"
    for *_, drawn_, font in pieces(reader):
        if any(letter in drawn_ for letter in LETTERS):
            assert "JetBrainsMono" in font or "Libertinus" in font, f"{drawn_!r} is drawn by {font}"


# ---------------------------------------------------------------- headings, links, references


def test_heading_levels_never_skip_and_outputs_have_no_sections():
    cells = [
        markdown("### a"),
        markdown("# b\n\n#### 1. c"),
        shown({"text/markdown": "# to"}),
        markdown("###### d\n\n# e"),
    ]
    assert bookmarks(render(*cells).outline) == ["a", "b", "1. c", "d", "e"]


def test_the_contents_leave_out_headings_that_come_again():
    parts = [markdown(f"## Phần {i}\n\n### Đề bài\n\n### Riêng {i}\n\n#### Sâu {i}") for i in range(2)]
    found = re.findall(r"([^\W\d]\w* ?\d?) (?:\. )+", page_text(render(markdown("# T"), *parts), 0))
    assert found == ["Phần 0", "Riêng 0", "Phần 1", "Riêng 1"]


@pytest.mark.parametrize(
    "target", ["neo", "ten", "2.-Mô-hình", "2-mô-hình", "2.-M%C3%B4-h%C3%ACnh", "2.%20Mô%20hình", "T", "eq-e"]
)
def test_each_kind_of_address_inside_the_notebook_has_its_target(target):
    text_ = '<a id="neo"></a>\n## 2. Mô hình\n\nchữ <a name="ten"></a> $$x \\label{e}$$'
    assert goals(render(markdown(f"# T\n\n[tới](#{target}) [không](#khong)"), markdown(text_))) == ["inside"]


@pytest.mark.parametrize("mention", ["Hình 1", "hình 1", "Bảng 1", "bảng 1", "\\eqref{e}"])
def test_each_kind_of_mention_is_a_link(mention):
    outputs = [figure(1, "Một."), table(1, "Hai.", "| a |\n|:--|\n| b |")]
    assert goals(render(markdown(f"$$x \\label{{e}}$$ Xem {mention}, Hình 9."), code("x", *outputs))) == ["inside"]


def test_what_a_section_is_called_links_to_it():
    text_ = "Xem Bài 2, bài 2, Mục 4 (L1), Mục 5, [nguồn](https://keras.io/api/)."
    cells = [markdown(f"# T\n\n## Bài 1\n\n{text_}"), markdown("## Bài 2 – L2"), markdown("## Mục 4 – L1\n\nBài 3")]
    contents_ = 3
    assert goals(render(*cells)) == ["inside"] * (contents_ + 3) + ["https://keras.io/api/"]


# ---------------------------------------------------------------- what is wide, long or large


def frame(columns: int, groups=("",), rows=3) -> str:
    """Return a data frame as pandas writes it: two levels of index, and of columns where there are groups.

    The heads are 90000 + column, the cells 10000 + 100 row + column.
    """
    heads = [f"<tr><th></th><th></th>{''.join(f'<th>{90000 + c}</th>' for c in range(columns))}</tr>"]
    if len(groups) > 1:
        spans = "".join(f"<th colspan={columns // len(groups)}>{group}</th>" for group in groups)
        heads.insert(0, f"<tr><th></th><th></th>{spans}</tr>")
    body = ""
    for r in range(rows * 2):
        first = f"<th rowspan={rows}>{['MNIST', 'CIFAR-10'][r // rows]}</th>" if r % rows == 0 else ""
        cells = "".join(f"<td>{10000 + 100 * r + c}</td>" for c in range(columns))
        body += f"<tr>{first}<th>hàng{r}</th>{cells}</tr>"
    return f"<table class='dataframe'><thead>{''.join(heads)}</thead><tbody>{body}</tbody></table>"


def stand_in_columns(reader: PdfReader, rows, columns: int) -> None:
    """Check that each number of a ``frame`` stands under the head of its column."""
    found = pieces(reader)
    for r in rows:
        for c in range(columns):
            (number,) = [piece for piece in found if piece[4] == f"{10000 + 100 * r + c}"]
            heads = [piece for piece in found if piece[4] == f"{90000 + c}" and piece[0] == number[0]]
            assert any(abs(head[2] - number[2]) < 8 and head[1] > number[1] for head in heads), (
                f"{number} not under {heads}"
            )


@pytest.mark.parametrize(
    ("columns", "groups", "bands"),
    [(6, [""], 1), (30, [""], 3), (30, ["train", "dev", "test"], 3), (30, ["a", "b"], 3)],
)
def test_every_number_of_a_wide_frame_stands_under_its_column(columns, groups, bands):
    reader = render(shown({"text/html": frame(columns, groups)}))
    stand_in_columns(reader, range(6), columns)
    found = page_text(reader)
    for name in ("MNIST", "CIFAR-10", "hàng5"):
        assert found.count(name) == bands, f"{name} of the index does not stand in each of {bands} bands: {found!r}"
    stays_on_the_page(reader)


@pytest.mark.parametrize("times", [1, 2, 4])
def test_wide_tables_of_pandas_stay_on_the_page_and_apart(times):
    names = [f"median_house_value_{100 + i}" + "_x" * (i % 4) for i in range(10 * times)]
    row = "".join(f"<td>{-122.230000 + i:.6f}</td>" for i in range(len(names)))
    head = "<th></th>" + "".join(f"<th>{name}</th>" for name in names)
    html = f"<table class='dataframe'><thead><tr>{head}</tr></thead><tbody><tr><th>0</th>{row}</tr></tbody></table>"
    reader = render(shown({"text/html": html}))
    found = page_text(reader)
    says(found, [f"{122.230000 - i:.6f}" for i in range(len(names))])
    says(found.replace(" ", ""), names)
    stays_on_the_page(reader)


def test_wide_and_long_things_stay_on_the_page():
    row = " & ".join(f"a_{{{i}}} + b_{{{i}}}" for i in range(20))
    matrix = f"\\begin{{bmatrix}} {row} \\\\ {row} \\end{{bmatrix}}"
    word, line = "k" * 300, "từ " * 120
    reader = render(
        shown({"text/markdown": grid(22, 120)}),
        shown({"text/markdown": grid(9, 3)}),
        markdown(f"$$A = {matrix}$$\n\nchữ $B = {matrix}$ chữ\n\n```\n{word}\n```"),
        code(f'a = "{word}"\nb = "{line}"', stream(word + "\n")),
        shown({"text/html": "<table><thead>" + "<tr><th>1</th><th>2</th></tr>" * 100 + "</thead></table>"}),
        shown({"image/png": base64_of(picture(100, 4000))}),
        markdown("sau"),
    )
    found = page_text(reader)
    says(found, [f"{c * 100 + r}.25" for c in range(22) for r in range(120)] + ["sau"])
    says(page_text(reader, 1), ["cột 0"])
    assert found.replace(" ", "").count(word) == 3 and line.replace(" ", "") in found.replace(" ", "")
    assert max(piece[3] for piece in pieces(reader)) <= 595 - 50


# fmt: off
LONG = {
    "lines": (stream("".join(f"dòng {i}\n" for i in range(3000))), "dòng 29 Ở đây đã lược bớt 2 960 dòng", "dòng 2999"),
    "one line": (stream(str([*range(70000)])), "ký tự; notebook có đủ.", "69999]"),
    "one word": (display({"text/plain": "x" * 400_000}), "ký tự; notebook có đủ.", "xxx"),
    "a frame": (display({"text/html": frame(9, rows=1500), "text/plain": "<9>"}), "hàng28 12800", "309908"),
    "a frame and its text": (
        display({"text/html": frame(9, rows=1500), "text/plain": "h  9\n" * 3000}), "lược bớt", "h 9"),
    "a Markdown table": (display({"text/markdown": grid(2, 3000)}), "lược bớt 2 962 dòng", "3099.25"),
    "lines in HTML": (
        display({"text/html": "<pre>" + "\n".join(map(str, range(9000))) + "</pre>"}), "lược bớt", "8999"),
    "a paragraph": (display({"text/markdown": "từ " * 90_000}), "ký tự", "từ"),
}
# fmt: on


@pytest.mark.parametrize("kind", LONG)
def test_long_outputs_are_cut_with_a_sentence(kind):
    output, sentence, end = LONG[kind]
    reader = render(code("x", output))
    says(page_text(reader).replace("\u202f", " "), [sentence, end])
    assert len(reader.pages) <= 3, "what is set is still too long"


def test_short_outputs_are_whole_and_tabs_stop_at_eight():
    says(page_text(render(code("x", stream("".join(f"dòng {i}\n" for i in range(50)))))), ["dòng 49"], ["lược"])
    assert markup.printed("Tên\tĐiểm") == '#raw("Tên     Điểm", block: true, lang: none)'
    long = "x" * 1_000_000  # in one line, as interactive figures are: minutes, were the time quadratic
    assert clean(long) == long


def drawn(reader: PdfReader) -> list[tuple[int, int]]:
    """Return width and height of the pictures, in points."""
    found = []

    def see(operator, operands, cm, tm):
        if operator == b"Do":
            found.append((round(cm[0]), round(abs(cm[3]))))

    for page in reader.pages:
        page.extract_text(visitor_operand_before=see)
    return found


def test_pictures_are_as_large_as_the_notebook_says(tmp_path):
    (tmp_path / "a.png").write_bytes(picture(1200, 800))
    data = {"image/png": base64_of(picture(1200, 800))}
    cells = [shown(data, {"image/png": {"width": 300, "height": 200}}), shown(data, {"width": 300})]
    sizes = ["width=300", "height=200 ", 'style="width: 300px"', 'style="max-width:9px;height:150pt"', 'width="225pt"']
    cells += [markdown(f"<img src='a.png' {size}>") for size in sizes]
    assert drawn(render(*cells, folder=tmp_path)) == [(225, 150)] * 7
    ((width, _),) = drawn(render(markdown("a <img src='a.png' style='width:30%'>"), folder=tmp_path))
    assert width == round(0.3 * 120 / 25.4 * 72), "30 % of the 120 mm for pictures within a line"


@pytest.mark.parametrize(
    ("name", "kind", "mode"),
    [("a.png", "JPEG", "L"), ("a.jpg", "PNG", "L"), ("a.jpg", "WEBP", "RGB"), ("a.bmp", "BMP", "RGB"),
     ("A.PNG", "PNG", "L"), ("a.jpg", "JPEG", "CMYK"), ("a", "TIFF", "CMYK"), ("a.gif", "GIF", "L")],
)  # fmt: skip
def test_a_picture_is_what_its_bytes_are(tmp_path, name, kind, mode):
    (tmp_path / name).write_bytes(content := picture(24, 16, kind, mode))
    cells = [markdown(f"![chữ thay]({name})"), shown({"image/png": base64_of(content)})]
    assert len(drawn(render(*cells, folder=tmp_path))) == 2


def test_alt_text_of_pictures_and_formulas():
    attachments = {"i.png": {"image/png": base64_of(picture(60, 20))}}
    cell = markdown("$\\lambda = 1$ ![ảnh đính kèm](attachment:i.png)", attachments=attachments)
    reader = render(cell, code("x", figure(1, "Hình một.")))
    assert [e["/Alt"] for e in structure(reader, "/Formula")] == ["\\lambda = 1"]
    assert {"ảnh đính kèm", "Mô tả hình 1"} <= {e.get("/Alt") for e in structure(reader, "/Figure")}


# ---------------------------------------------------------------- what Typst refuses


def let_be_wrong(monkeypatch, wrong: str) -> None:
    """Let the Typst code be wrong of formulas that say LỖI and of texts that say HỎNG."""
    converted = markup.pandoc

    def wrongly(*arguments):
        found = converted(*arguments)
        for key, formula in found["formulas"].items():
            found["formulas"][key] = bad = formula.replace("LỖI", wrong if len(wrong) == 1 else '" + panic() + "')
            found["typst"] = [typst.replace(formula, bad) for typst in found["typst"]]
        return found | {"typst": [typst.replace("HỎNG", wrong) for typst in found["typst"]]}

    monkeypatch.setattr(markup, "pandoc", wrongly)


@pytest.mark.parametrize("wrong", ["#panic()", "\ue000"], ids=["Typst", "PDF/A"])
@pytest.mark.parametrize(
    ("cell", "stays", "note"),
    [
        (markdown("## Mục\n\nmột $x_\\text{LỖI}$ hai"), "Mục một x_\\text{LỖI} hai", "công thức x_\\text{LỖI}"),
        (markdown("*HỎNG* ba"), "*HỎNG* ba", "một phần"),
        (shown({"image/png": base64_of(picture(400, 400)[:90])}), "Hình do mã vẽ ra", "một hình"),
    ],
    ids=["formula", "text", "picture"],
)
def test_what_typst_refuses_costs_itself_and_is_named(monkeypatch, cell, stays, note, wrong):
    let_be_wrong(monkeypatch, wrong)
    cells = [markdown(f"## đoạn {i}") for i in range(9)]
    reader, notes = export(notebook(*cells, cell, markdown("sau $y$")))
    says(page_text(reader), ["đoạn 8", stays, "sau y"])
    assert len(notes) == 1 and notes[0].startswith("Ô 10 (“") and note in notes[0], notes


def test_as_last_resort_the_standards_are_given_up_and_the_report_says_so(monkeypatch):
    monkeypatch.setattr(TypstPDFExporter, "_find_rejected", lambda *_: set())
    with monkeypatch.context() as once, pytest.raises(ReportError, match="không dựng được"):
        let_be_wrong(once, "#panic()")
        export(notebook(markdown("HỎNG")))
    let_be_wrong(monkeypatch, "\ue000")
    reader, (note,) = export(notebook(markdown("HỎNG còn")))
    says(page_text(reader), ["còn", "không theo chuẩn PDF/UA-1"])
    assert "không theo chuẩn" in note


# ---------------------------------------------------------------- the course's notebook


# fmt: off
@pytest.fixture(scope="module")
def sample() -> PdfReader:
    """Return the PDF of a small notebook that uses every part of the contract."""
    rows = "| Lần | Độ chính xác |\n|:--|--:|\n| `sgd` | 97,25 ± 0,33 |\n"
    front = table(3, "Mọi lần chạy.", rows.replace("97", "88"), kind="front")
    answer = text("answer", "**Đạt 97,25 %.** Vì thế.\n\n- ✓ đúng\n- ✗ sai\n- ≈ gần", "Bài 1")
    return render(course_notebook(
        code("front_and_abstract()", text("abstract", "Tóm lược nửa trang."), front),
        code("def hidden_setup(): pass", tags=["setup"]),
        markdown("giấu chữ", metadata={"tags": ["hide"]}),
        code("hidden_code()", stream("hidden output"), tags=["hide"]),
        markdown("## Bài 1 – Mạng"),
        markdown("### Đề bài\n\n> **Bài 1**: vẽ. Xem Hình 1, Bảng 2 và Hình 9."),
        code("expect()", text("expect", "- Kỳ vọng: tăng", "Bài 1")),
        code("draw(bai1)", display({"text/plain": "epoch 3/30"}, kind="progress"),
             text("caption", "**Hình 1.** Đồ thị `loss` của *hai* lần chạy. (lặp)", "Hình 1"),
             figure(1, "Đồ thị `loss` của *hai* lần chạy.")),
        code("rows()", table(2, "Số đo **chính**.", rows)),
        code("say()", answer, text("verdicts", "| Kỳ vọng | |\n|:--|:--|\n| tăng | ✓ |", "Bài 1")),
        markdown("## Tổng kết"),
        course="Học phần khác (DS300)",
    ))


def test_contract(sample):
    says(page_text(sample, 0), [
        "Học phần khác (DS300) Bài thực hành 2: Các kỹ thuật tối ưu hoá mô hình",
        "MSSV: MSSV · Họ tên: Họ và tên · Lớp: DS201 · Ngày chạy: 23/11/2026",
        "Tóm lược nửa trang. Bảng 3. Mọi lần chạy. Lần Độ chính xác sgd 88,25 ± 0,33 Mục lục Bài 1 – Mạng",
    ])
    says(page_text(sample), [
        "draw(bai1)", "• Kỳ vọng: tăng", "Hình 1. Đồ thị loss của hai lần chạy.",
        "Bảng 2. Số đo chính. Lần Độ chính xác sgd 97,25 ± 0,33",
        "Đạt 97,25 %. Vì thế. • ✓ đúng • ✗ sai • ≈ gần", "tăng ✓", "tensorflow 2.21.0",
    ], ["hidden", "giấu", "epoch", "lặp", "leave_record", "say()", "expect()", "abstract()", "SEED"])
    assert page_text(sample).count("Tóm lược") == 1
    # four entries of the contents, Bài 1, Hình 1 and Bảng 2, but not Hình 9
    assert goals(sample) == ["inside"] * (4 + 3)
    assert "(DS201)" in page_text(render(course_notebook()), 0), "the course of records that do not name it"
# fmt: on


def test_a_table_that_goes_on_says_so():
    reader = render(course_notebook(code("x", table(2, "Dài.", grid(2, 120)))))
    assert len(reader.pages) >= 3
    for number in range(1, len(reader.pages)):
        found = page_text(reader, number)
        if ".25" in found:
            says(found, ["Bảng 2 (tiếp)", "cột 0 cột 1"])
    assert "(tiếp)" not in page_text(reader, 0)


def is_accessible(reader: PdfReader) -> None:
    """Check what PDF/UA-1 and PDF/A-2a ask for, as far as pypdf shows it."""
    root = reader.trailer["/Root"]
    assert root["/Lang"].lower().startswith("vi") and root["/MarkInfo"]["/Marked"]
    xmp = root["/Metadata"].get_object().get_data().decode()
    assert re.search(r"pdfuaid:part\W+1\b", xmp) and re.search(r"pdfaid:part\W+2\b", xmp), "no claim of the standards"
    assert all(e.get("/Alt") for e in structure(reader, "/Formula")), "a formula has no alt text"
    for page in reader.pages:
        for font in page["/Resources"].get("/Font", {}).values():
            descendant = font.get_object()["/DescendantFonts"][0].get_object()
            name, descriptor = descendant["/BaseFont"], descendant["/FontDescriptor"]
            assert any(f"/FontFile{n}" in descriptor for n in ("", "2", "3")), f"{name} is not embedded"
            assert re.search(r"\+(Libertinus|JetBrainsMono|DejaVuSansMono|NewCM)", name), (
                f"{name} is no font of the wheels"
            )


def test_document(sample):
    is_accessible(sample)
    assert sample.metadata.title == "Bài thực hành 2: Các kỹ thuật tối ưu hoá mô hình"
    assert sample.metadata.creation_date.date().isoformat() == "2026-11-23"
    assert bookmarks(sample.outline) == ["Bài 1 – Mạng", "Đề bài", "Tổng kết", "Thông tin để chạy lại"]
    assert len(structure(sample, "/TH")) >= 4
    nb = course_notebook(markdown("## A 🎉\n\n$x$"), code("y", figure(1, "Một.")))
    first, second = (TypstPDFExporter().from_notebook_node(nb)[0] for _ in range(2))
    assert first == second, "the same notebook gives other bytes"


# ---------------------------------------------------------------- stale notebooks, and other limits


def sealed():
    """Return a notebook with code cells: settings, x, y (figure, caption, table), z (answer, verdicts), record."""
    seen = [
        figure(1, "Chú thích."),
        text("caption", "**Hình 1.** Chú thích.", "Hình 1"),
        table(2, "B.", "| a |\n|:--|\n| 97 |"),
    ]
    words_ = [text("answer", "Đạt 97 %.", "Bài 2"), text("verdicts", "| ✓ |\n|:--|", "Bài 2")]
    return course_notebook(markdown("## Bài 2 – L2"), code("x = 1"), code("y", *seen), code("z", *words_))


def cells_of(nb):
    """Return the code cells of a notebook."""
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def as_before_2026(nb):
    """Give a notebook a record of the old form."""
    record = cells_of(nb)[-1].outputs[0].metadata.bth2.record
    record.cells = [record.cells[str(cell.execution_count)] for cell in cells_of(nb)]
    del record["shown"]
    return nb


def run_again(nb):
    """Let the third cell have been interrupted and run again with all below: the record holds both runs."""
    record = cells_of(nb)[-1].outputs[0].metadata.bth2.record
    for cell in reversed(cells_of(nb)[2:]):
        record.cells[str(cell.execution_count + 1)] = record.cells[str(cell.execution_count)]
        cell.execution_count += 1


def show_instead(output, markdown_text):
    """Let an output show something else."""
    output.data["text/markdown"] = markdown_text


BROKEN = nbformat.v4.new_output("error", ename="E", evalue="", traceback=[""])
# fmt: off
CHANGES = {  # what is done to the code cells (settings, x, y, z, record); where the sentence finds it, and what
    "never run": (
        lambda s, x, y, z, _: y.update(execution_count=None), "ô mã thứ 3 (mục “Bài 2 – L2”", "chưa được chạy"),
    "out of order": (lambda s, x, y, z, _: y.update(execution_count=9), "ô mã thứ 3", "khác với mã đã chạy"),
    "run before": (lambda s, x, y, z, _: y.update(execution_count=1), "ô mã thứ 3", "không theo thứ tự"),
    "edited": (lambda s, x, y, z, _: y.update(source="y + 1"), "ô mã thứ 3 (mục “Bài 2 – L2”", "khác với mã đã chạy"),
    "exchanged": (lambda s, x, y, z, _: x.update(source="y"), "ô mã thứ 2", "khác với mã đã chạy"),
    "added": (lambda s, x, y, z, _: x.update(y, execution_count=2, source="w"), "ô mã thứ 2", "khác với mã đã chạy"),
    "failed": (lambda s, x, y, z, _: y.outputs.append(BROKEN), "ô mã thứ 3", "đã dừng vì lỗi"),
    "a seed": (
        lambda s, x, y, z, _: s.update(source=s.source.replace("SEED = 0", "SEED = 7")), "ô mã thứ 1", "khác với mã"),
    "a setting like a name": (
        lambda s, x, y, z, _: s.update(source="MSSV_2 = 1\n" + s.source), "ô mã thứ 1", "khác với mã"),
    "a picture": (
        lambda s, x, y, z, _: y.outputs[0].data.update({"image/svg+xml": "<svg/>"}), "hình “f1” (mục “Bài 2 – L2”)",
        "không phải"),
    "a caption": (lambda s, x, y, z, _: show_instead(y.outputs[1], "khác"), "hình “f1”", "không phải là"),
    "a caption for the PDF": (
        lambda s, x, y, z, _: y.outputs[0].metadata.bth2.update(caption="khác"), "hình “f1”", "không phải"),
    "a number": (lambda s, x, y, z, _: show_instead(y.outputs[2], "| a |\n|:--|\n| 98 |"), "bảng “t2”", "không phải"),
    "a sentence": (lambda s, x, y, z, _: show_instead(z.outputs[0], "Đạt 99 %."), "câu trả lời “Bài 2”", "không phải"),
    "a mark": (
        lambda s, x, y, z, _: show_instead(z.outputs[1], "| ✗ |\n|:--|"), "đối chiếu kỳ vọng “Bài 2”", "không phải"),
    "one removed": (lambda s, x, y, z, _: y.outputs.pop(2), "bảng “t2” (mục “Bài 2 – L2”)", "đã bị xoá"),
    "the last removed": (lambda s, x, y, z, _: z.outputs.pop(1), "đối chiếu kỳ vọng “Bài 2”", "đã bị xoá"),
    "one twice": (lambda s, x, y, z, _: z.outputs.append(z.outputs[0]), "câu trả lời “Bài 2” (mục", "được thêm vào"),
    "one of another run": (
        lambda s, x, y, z, _: z.outputs.append(text("answer", "A.", "Bài 9")), "“Bài 9”", "được thêm vào"),
    "two exchanged": (lambda s, x, y, z, _: y.outputs.reverse(), "bảng “t2”", "không đứng ở chỗ của nó"),
    "known no more": (lambda s, x, y, z, _: y.outputs[2].pop("metadata"), "bảng “t2”", "đã bị xoá"),
}
# fmt: on


@pytest.mark.parametrize("change", CHANGES)
def test_commands_refuse_a_stale_notebook_and_the_exporter_marks_it(change):
    edit, where, what = CHANGES[change]
    nb = sealed()
    edit(*cells_of(nb))
    with pytest.raises(ReportError) as refusal:
        files.render(nb, Path("a.ipynb"))
    message = str(refusal.value)
    says(message, [where, what, "hãy chạy lại"], ["\n"])
    if change in ("edited", "a sentence"):
        says(page_text(render(nb), 0), [what, "KẾT QUẢ CŨ"])


@pytest.mark.parametrize("form", [lambda nb: nb, run_again, as_before_2026])
def test_what_is_no_change(form):
    nb = sealed()
    form(nb)
    submit.personalize(nb, "21520000", 'O\'Neil "Tí"', "DS201.O11")
    cells_of(nb)[1].source += "\n\n"
    nb.cells.append(code(""))
    assert staleness(nb) is None
    nb = nbformat.reads(nbformat.writes(nb), as_version=4)
    assert staleness(nb) is None, "after it was saved and read back"


def test_records_as_before_2026_are_held_to_their_cells():
    nb = as_before_2026(sealed())
    nb.cells.remove(cells_of(nb)[2])
    assert "bị xoá" in staleness(nb)


def test_a_foreign_notebook_needs_no_record():
    assert "x = 1" in page_text(render(code("x = 1")))
    says(page_text(render(notebook(code("x = 1"), run=False)), 0), ["ô mã thứ 1"], ["ALLOW_STALE"])


LIMITS = [
    ({"profile": "quick"}, "BẢN CHẠY NHANH", "bản chạy nhanh"),
    ({"stand_in": True}, "DỮ LIỆU THAY THẾ", "Dữ liệu mnist là"),
]


@pytest.mark.parametrize(("limit", "mark", "sentence"), LIMITS)
def test_limits_are_stated_on_page_one_and_in_the_header(limit, mark, sentence):
    reader = render(course_notebook(markdown("## A\n\n" + "chữ\n\n" * 60), **limit))
    assert sentence in page_text(reader, 0)
    for page in range(len(reader.pages)):
        assert mark in page_text(reader, page), f"no mark in the header of page {page + 1}"


# ---------------------------------------------------------------- commands


def command(*arguments, **env):
    """Return the finished process of a Python module's command line."""
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONUTF8": "1", **env},
        capture_output=True,
        check=False,
        timeout=300,
    )


def test_nbconvert_finds_the_exporters(tmp_path):
    path = tmp_path / "một sổ.ipynb"
    nbformat.write(notebook(code("x = 1", display({"image/svg+xml": SVG}))), path)
    for exporter in ("TypstPDFExporter", "TypstExporter"):
        done = command("nbconvert", "--to", f"report.exporter.{exporter}", path, "--no-input", "--output", "ra")
        assert done.returncode == 0, done.stderr.decode()
    assert "x = 1" not in page_text(PdfReader(tmp_path / "ra.pdf"))
    assert "#picture(" in (tmp_path / "ra.typ").read_text(encoding="utf-8")
    assert [p.suffix for p in (tmp_path / "ra_files").iterdir()] == [".svg"]


@pytest.mark.parametrize("console", [{}, {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}], ids=["UTF-8", "cp1252"])
def test_the_commands_can_say_what_they_did_on_any_console(tmp_path, console):
    nbformat.write(notebook(code("x")), tmp_path / "a.ipynb")
    helped = command("report", "--help", **console)
    done = command("report", "build", tmp_path / "a.ipynb", "--output", tmp_path / "a.pdf", **console)
    failed = command("report", "build", tmp_path / "b.ipynb", **console)
    assert [helped.returncode, done.returncode, failed.returncode] == [0, 0, 1], (
        helped.stderr + done.stderr + failed.stderr
    )
    encoding = "cp1252" if console else "utf-8"
    assert re.match("(Đ|D)(ã|a) ghi", done.stdout.decode(encoding)), done.stdout
    assert re.match("Kh(ô|o)ng t(ì|i)m th(ấ|a)y", failed.stderr.decode(encoding)), failed.stderr


def test_build_says_one_sentence_when_it_refuses(tmp_path, capsys):
    nb = sealed()
    cells_of(nb)[2].execution_count = None
    path, pdf = tmp_path / "a.ipynb", tmp_path / "a.pdf"
    nbformat.write(nb, path)
    assert main(["build", str(path), "--output", str(pdf)]) == 1
    assert not pdf.exists()
    assert main(["build", str(path), "--output", str(pdf), "--allow-stale"]) == 0
    assert pdf.is_file()
    assert main(["build", str(tmp_path / "none.ipynb")]) == 1
    assert main(["build", str(pdf)]) == 1
    stale, none, other = capsys.readouterr().err.splitlines()
    assert "ô mã thứ 3" in stale and "Không tìm thấy" in none and "Không đọc được" in other


WHOLE = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}}
CELL = {"cell_type": "code", "source": "chữ", "metadata": {}, "outputs": [], "execution_count": 1}
TEXT = {"cell_type": "markdown", "source": "chữ", "metadata": {}, "id": "b", "outputs": [], "khác": 1}
WIDGETS = {"widgets": {"application/vnd.jupyter.widget-state+json": {}}}
# fmt: off
OPENED = [
    ({**WHOLE, "cells": [CELL | {"id": "a"}, TEXT]}, None),
    ({**WHOLE, "cells": [CELL | {"id": "a"}], "nbformat_minor": 4}, None),
    ({**WHOLE, "cells": [CELL | {"id": "a"}, CELL | {"id": "a", "execution_count": 2}]}, None),
    ({**WHOLE, "cells": [CELL], "metadata": WIDGETS}, None),
    ({"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": [], "metadata": {}}]}, None),
    ({**WHOLE, "cells": [{"cell_type": "markdown", "id": "a", "metadata": {}}]}, "'source' is a required"),
    ({**WHOLE, "cells": [CELL | {"outputs": [{"output_type": "stream", "text": "in"}]}]}, "'name' is a required"),
    (WHOLE, "cells"), ([], "."), ({**WHOLE, "cells": [5]}, "."),
]
# fmt: on


@pytest.mark.parametrize(("content", "reason"), OPENED)
@pytest.mark.parametrize("start", ["", "\ufeff"], ids=["", "BOM"])
def test_what_jupyter_opens_is_opened_and_a_refusal_gives_its_reason(tmp_path, content, reason, start):
    path = tmp_path / "a.ipynb"
    path.write_text(start + json.dumps(content), encoding="utf-8")
    if reason is None:
        nb = files.read_notebook(path)
        assert files.render(nb, path, allow_stale=True).startswith(b"%PDF")
    else:
        with pytest.raises(ReportError, match=f"không phải notebook hợp lệ.*{reason}"):
            files.read_notebook(path)


def test_html_shows_results_without_the_code_of_set_up(tmp_path):
    cells = [code(f"mã_{tag}", stream(f"ra_{tag}"), tags=[tag]) for tag in ("setup", "hide-input", "hide", "khác")]
    nbformat.write(notebook(*cells), tmp_path / "a.ipynb")
    assert main(["html", str(tmp_path / "a.ipynb"), "--output", str(tmp_path / "a.html")]) == 0
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    says(
        page, ["ra_setup", "ra_hide-input", "mã_khác", "ra_khác"], ["mã_setup", "mã_hide-input", "mã_hide", "ra_hide<"]
    )


# ---------------------------------------------------------------- the committed pair


@pytest.fixture(scope="module")
def committed():
    """Return the committed notebook, its PDF, and the text of each page."""
    assert PDF.exists(), f"{PDF.relative_to(ROOT)} is missing: make report"
    pdf = PdfReader(PDF)
    return nbformat.read(NOTEBOOK, as_version=4), pdf, [p.extract_text() for p in pdf.pages]


def words(content: str) -> str:
    """Return the letters and digits of a text, as one word: where lines and long names are broken does not matter."""
    return "".join(re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", content.replace("\u200b", ""))))


def lines_of(content: str, hidden=r"\$\$?[^$]*\$\$?|\]\([^)]*\)") -> list[str]:
    """Return the words of each line of Markdown, but formulas, whose letters a PDF has in another order."""
    return [words(part) for line in content.splitlines() for part in re.split(hidden, line)]


def displayed(nb, *kinds):
    """Return what the notebook says of the outputs of some kinds, where not hidden, and their Markdown."""
    cells = [cell for cell in nb.cells if "hide" not in cell.metadata.get("tags", [])]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return [
        (bth2(output), output.data.get("text/markdown", "")) for output in outputs if bth2(output).get("kind") in kinds
    ]


def missing(nb, pages: list[str]) -> str | None:
    """Say which line of an answer or table of a notebook is the first that the pages do not hold, in order."""
    blocks = displayed(nb, "answer", "predictions", "expect", "verdicts", "table")
    found, position = words(re.sub(r"\nTrang \d+ / \d+\n.*", "", "\n".join(pages))), 0
    assert blocks, "the notebook displays no answers or tables"
    for meta, content in blocks:
        for line in lines_of(meta.get("caption", "") + "\n" + content):
            position = found.find(line, position)
            if position < 0:
                return f"{meta['kind']} {meta.get('number', '')}: {line}"
    return None


def test_the_committed_pdf_is_of_this_notebook_and_holds_its_answers_and_tables_in_order(committed):
    nb, pdf, pages = committed
    assert f"notebook-sha256:{notebook_hash(nb)}" in pdf.metadata["/Keywords"], "the notebook has changed: make report"
    assert missing(nb, pages) is None, "not in the PDF after what stands before it"


@pytest.mark.parametrize("fault", [lambda t: "" if "table(" in t else t, lambda t: t.replace("97,25", "97,26")])
def test_a_faulty_exporter_is_noticed(monkeypatch, fault):
    """The check above is no good unless it sees an exporter that loses a table or changes a digit."""
    rows = "| Lần | Đúng |\n|:--|--:|\n| a | 97,25 |\n"
    nb = course_notebook(code("x", table(1, "Đo.", rows), text("answer", "Đạt.")), code("y", table(2, "B.", rows)))
    assert missing(nb, [page_text(render(nb))]) is None
    converted = markup.pandoc
    monkeypatch.setattr(
        markup, "pandoc", lambda *a: (found := converted(*a)) | {"typst": [*map(fault, found["typst"])]}
    )
    assert "table 1" in missing(nb, [page_text(render(nb))])


def test_the_committed_pdf_is_what_this_exporter_makes(committed):
    """A digit misprinted or a table dropped by the exporter shows against the PDF that is handed out."""
    nb, _, pages = committed
    for number, (old, page) in enumerate(zip(pages, render(nb).pages, strict=True), start=1):
        assert words(page.extract_text()) == words(old), f"page {number} is not what is made now: make report"


def test_every_figure_is_in_the_committed_pdf_and_the_front_on_page_one(committed):
    nb, pdf, pages = committed
    alts, found = [e.get("/Alt") for e in structure(pdf, "/Figure")], words(" ".join(pages))
    for meta, _ in (figures := displayed(nb, "figure")):
        assert meta["alt"] in alts, f"no figure with the alt text of Hình {meta['number']}"
        for line in lines_of(f"Hình {meta['number']}. {meta['caption']}"):
            assert line in found, f"not in the PDF: {line}"
    fronts = displayed(nb, "abstract", "front")
    assert figures and {meta["kind"] for meta, _ in fronts} == {"abstract", "front"}
    for meta, content in fronts:
        for line in lines_of(content):
            assert line in words(pages[0]), f"not on page 1, of the {meta['kind']}: {line}"


def test_the_committed_pdf_is_accessible_and_has_its_sections(committed):
    nb, pdf, _ = committed
    is_accessible(pdf)
    assert nb.cells[0].source.splitlines()[0] == f"# {pdf.metadata.title}"
    shown_ = [c for c in nb.cells if c.cell_type == "markdown" and "hide" not in c.metadata.get("tags", [])]
    titles = [re.sub(r"^\d+\. ", "", title) for title in bookmarks(pdf.outline)]
    for section in re.findall(r"(?m)^## +(.*?) *$", "\n".join(cell.source for cell in shown_)):
        assert re.sub(r"[*`_$]", "", section) in titles, f"no bookmark for {section!r}"
    assert 15 <= len(pdf.pages) <= 20 and PDF.stat().st_size < 5 * 2**20


def filled(reader: PdfReader) -> list[float]:
    """Return how far down each page is filled, from 0 to 1: figures end with a caption, so text tells."""
    top, bottom = 841.9 - 56.7, 48.2  # the margins of style.typ
    lowest = dict.fromkeys(range(len(reader.pages)), top)
    for page, height, *_ in pieces(reader):
        if height > bottom - 4:
            lowest[page] = min(lowest[page], height)
    return [(top - low) / (top - bottom) for low in lowest.values()]


def test_no_page_of_the_committed_pdf_is_left_open(committed):
    *fills, _ = filled(committed[1])
    assert min(fills) >= 0.85, "filled: " + ", ".join(f"p. {i} {fill:.0%}" for i, fill in enumerate(fills, 1))


def test_the_checks_of_the_committed_pdf_see_what_they_look_for():
    first, second = filled(render(markdown("x\n\n" * 200), markdown("x\n\n" * 3)))[:2]
    assert first > 0.95 and filled(render(markdown("x")))[0] < 0.1 < second
