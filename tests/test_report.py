"""The report: what a notebook may hold, when it is refused, and the committed pair of files."""

import base64
import io
import os
import re
import struct
import subprocess
import sys
import unicodedata
import zlib
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from pypdf import PdfReader
from report_samples import (
    SVG,
    code,
    course_notebook,
    display,
    figure,
    full_notebook,
    markdown,
    notebook,
    raw_cell,
    stream,
    table,
    text,
)

from report import files, markup, submit
from report.__main__ import main
from report.exporter import TypstExporter, TypstPDFExporter, notebook_hash
from report.freshness import ReportError, bth2, staleness
from report.markup import clean

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "MSSV_BaiThucHanh2.ipynb"
PDF = ROOT / "report" / "MSSV_BaiThucHanh2.pdf"


def render(nb) -> PdfReader:
    """Return the PDF of a notebook; Typst checks PDF/UA-1 and PDF/A-2a as it writes."""
    return PdfReader(io.BytesIO(TypstPDFExporter().from_notebook_node(nb)[0]))


def page_text(reader: PdfReader, page: int | None = None) -> str:
    """Return the text of a page, or of all pages, with every run of white space as one space."""
    pages = reader.pages if page is None else [reader.pages[page]]
    joined = " ".join(p.extract_text() for p in pages).replace("\u200b", "")
    return " ".join(unicodedata.normalize("NFKC", joined).split())


def png(width: int, height: int) -> str:
    """Return a grey picture in base64."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = (b"\0" + b"\x80" * width) * height
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + body).decode()


def structure(reader: PdfReader, role: str) -> list[dict]:
    """Return the elements of a role in the tag tree, in reading order."""
    found = []

    def visit(node):
        node = node.get_object()
        if isinstance(node, list):
            for child in node:
                visit(child)
        elif isinstance(node, dict):
            if node.get("/S") == role:
                found.append(node)
            if "/K" in node:
                visit(node["/K"])

    visit(reader.trailer["/Root"]["/StructTreeRoot"])
    return found


def fonts(reader: PdfReader) -> dict[str, bool]:
    """Return the names of all fonts used, and whether each is embedded."""
    found = {}
    for page in reader.pages:
        for font in page["/Resources"].get("/Font", {}).values():
            descendant = font.get_object()["/DescendantFonts"][0].get_object()
            name = re.sub(r"^/[A-Z]{6}\+", "", descendant["/BaseFont"])
            descriptor = descendant["/FontDescriptor"]
            found[name] = any(f"/FontFile{n}" in descriptor for n in ("", "2", "3"))
    return found


def bookmarks(outline) -> list[str]:
    """Return the titles of the bookmarks of all levels, in order."""
    return [title for entry in outline for title in (bookmarks(entry) if isinstance(entry, list) else [entry.title])]


# ---------------------------------------------------------------- what a notebook may hold

FRAME = (
    "<div>\n<style scoped>\n    .dataframe tbody tr th {\n        vertical-align: top;\n    }\n</style>\n"
    "<table border='1' class='dataframe'>"
    "<thead><tr style='text-align: right;'><th></th><th>tên_cột</th><th>điểm</th></tr></thead>"
    "<tbody><tr><th>0</th><td>#a$</td><td>1.25</td></tr>"
    "<tr><th>1</th><td>*b_</td><td>-3e-05</td></tr></tbody></table></div>"
)
SPECIAL = "# $ @tag < > _ * \\ ` ~ \" ' [ ] / // = - + #let x = 1 #panic() $5 a_b_c"
PICTURE = {"i.png": {"image/png": png(60, 20)}}
BROKEN = base64.b64encode(b"no picture").decode()


def shown(data, **bth2):
    """Return a code cell with one displayed output."""
    return code("x", display(data, **bth2))


CASES = {
    "special characters in text": (
        markdown("Chữ: # $ @tag < > _ * \\\\ \\` ~ \" ' [ ] / // = - + #panic() $5 a_b_c"),
        ["# $ @tag < > _ * \\ ` ~ \" ' [ ] / // = - + #panic() $5 a_b_c"],
        [],
    ),
    "special characters in a heading": (
        markdown('## Mục # $ @ < > _ ~ " [x] // = #panic()'),
        ['Mục # $ @ < > _ ~ " [x] // = #panic()'],
        [],
    ),
    "special characters in code and output": (
        code(f"# {SPECIAL}", stream(f"in ra: {SPECIAL}\n")),
        [f"# {SPECIAL}", f"in ra: {SPECIAL}"],
        [],
    ),
    "Typst and Markdown at line starts": (
        markdown("= a\n\n/ b: c\n\n#set page()\n\n// d\n\n**đ**.e *f*[g] *h*(i) `k`.l"),
        ["= a", "/ b: c", "#set page()", "// d", "đ.e f[g] h(i) k.l"],
        [],
    ),
    "dollars that are no formula": (markdown("giá $5 và $10."), ["giá $5 và $10."], []),
    "formulas": (
        markdown("$\\|W\\|_2$ và\n\n$$\\sum_i y_i$$\n\n\\begin{align}\na&=b\\\\c&=d\n\\end{align}"),
        ["‖W ‖2", "∑", "a = b c = d"],
        ["\\begin", "$"],
    ),
    "formulas that cannot be read": (
        markdown("$\\badmacro{x}$ rồi $f$(x) và $g$.h"),
        ["\\badmacro{x} rồi f(x) và g.h"],
        [],
    ),
    "an environment that begins a line": (
        markdown("$E = \\frac{1}{2}\n\\begin{bmatrix}\n1 & 2 \\\\\n- 3 & 4\n\\end{bmatrix}\n+ 1$ sau"),
        ["E =", "sau"],
        ["$", "begin", "bmatrix", "•"],
    ),
    "formulas with nothing inside": (markdown("a $$ $$ b $$$$ c $ $ d"), ["a", "b", "c", "d"], []),
    "formulas with blanks inside the dollars": (
        markdown("Hệ số $ (\\lambda) $ và $ x $; giá $ 5 hay $ 6; `$ (\\mu) $`"),
        ["Hệ số (λ) và x; giá $ 5 hay $ 6; $ (\\mu) $"],
        ["lambda"],
    ),
    "lists": (
        markdown("chữ\n- một\n  - hai\n    1. ba\n- [x] xong\n- [ ] chưa"),
        ["• một", "‣ hai", "1. ba", "xong", "chưa"],
        ["[x]"],
    ),
    "footnotes and quotes": (
        markdown("thân[^1]\n\n> trích\n\n[^1]: lời chú thích"),
        ["thân", "trích", "lời chú thích"],
        ["[^1]"],
    ),
    "links": (
        markdown("[một](#đâu-đó) [hai](tep.csv) [ba](http://a.vn/?x=1&y_z=2#t) <https://b.vn/_c_>"),
        ["một hai ba https://b.vn/_c_"],
        ["tep.csv"],
    ),
    "HTML in Markdown": (
        markdown(
            "<b>đậm</b> H<sub>2</sub>O $x^2$<br>dòng\n\n<div align=center>\n\n**giữa**\n\n</div>\n\n"
            "<details><summary>tóm tắt</summary>kỹ</details><!-- ẩn --><script>alert(1)</script>\n\n"
            "<table><tr><th>A</th></tr><tr><td>7</td></tr></table>"
        ),
        ["đậm H2O x2", "dòng", "giữa", "tóm tắt", "kỹ", "A 7"],
        ["<b>", "ẩn", "alert"],
    ),
    "a formula in a span, a table in a div": (
        markdown("<span>$x^2$</span> sau\n\n<div><table><tr><th>A</th><td>7</td></tr></table></div>"),
        ["x2 sau", "A 7"],
        ["$", "<"],
    ),
    "HTML left open": (markdown("<div><b>mở\n\nvẫn đọc được"), ["mở", "vẫn đọc được"], ["<"]),
    "a table as HTML": (
        shown({"text/html": FRAME, "text/plain": "không dùng"}),
        ["tên_cột điểm 0 #a$ 1.25 1 *b_ −3e-05"],
        ["không dùng", "vertical-align"],
    ),
    "a table as Markdown": (
        shown({"text/markdown": "| a | b |\n|:--|--:|\n| `x\\|y` | 1,5 |\n| cuối | 2,5 |"}),
        ["a b x|y 1,5 cuối 2,5"],
        ["|:--"],
    ),
    "HTML with nothing to read": (
        shown({"text/html": "<script>1</script>", "text/plain": "chữ thay"}),
        ["chữ thay"],
        ["script"],
    ),
    "LaTeX": (shown({"text/latex": "$\\displaystyle x^{2} + 1$"}), ["x2 + 1"], ["displaystyle"]),
    "JSON": (shown({"application/json": {}, "text/plain": "{'a': 1}"}), ["{'a': 1}"], []),
    "a widget": (
        shown({"application/vnd.jupyter.widget-view+json": {}, "text/plain": "HBox()"}),
        [],
        ["HBox"],
    ),
    "ANSI colours and control codes": (
        code("x", stream("\x1b[31mđà\x1b[0m \x07chuông\n10%\r 50%\r100%\nabc\b\b\bxyz\n")),
        ["đà chuông", "100%", "xyz"],
        ["[31m", "50%", "abc"],
    ),
    "raw cells": (raw_cell("\\documentclass #raw <b>"), ["\\documentclass #raw <b>"], []),
    "another language": (code('%%bash\necho $HOME "#{x}" `ls`'), ['echo $HOME "#{x}" `ls`'], []),
    "fenced code": (
        markdown("````js\nlet s = `#{y}`; // ```\n\\begin{align}\n````\n\n    thụt # vào"),
        ["let s = `#{y}`; // ```", "\\begin{align}", "thụt # vào"],
        ["$$"],
    ),
    "pictures in Markdown": (
        markdown(
            "![a](attachment:i.png) ![b](khong-co.png) ![c](https://a.vn/c.png)",
            attachments=PICTURE,
        ),
        ["[Hình: b] [Hình: c]"],
        ["[Hình: a]"],
    ),
    "a picture that is none": (
        markdown("![hỏng](attachment:i.png) *vẫn còn*", attachments={"i.png": {"image/png": BROKEN}}),
        ["[Hình: hỏng] vẫn còn"],
        ["![", "*vẫn"],
    ),
    "an SVG that is none": (
        shown({"image/svg+xml": "<svg><broken", "text/plain": "mô tả"}),
        ["mô tả"],
        ["<broken"],
    ),
    "emoji and other scripts": (
        markdown("vui 🎉 👩‍🚀 ✅ 日 và `🎉` $🎉$ ✓ ✗ ≈ →"),
        ["vui [party popper] [woman][rocket] [white heavy check mark] [U+65E5]", "✓ ✗ ≈ →"],
        ["\ufffd"],
    ),
    "emoji in code and headings": (
        code('print("🎉")', stream("🚀\n")),
        ['print("[party popper]")', "[rocket]"],
        [],
    ),
    "front matter that is none": (markdown("---\na: [b\n---\nthân"), ["a: [b", "thân"], []),
}


@pytest.mark.parametrize("case", CASES)
def test_content_becomes_text(case):
    cell, present, absent = CASES[case]
    found = page_text(render(notebook(markdown("Mở đầu."), cell)))
    for expected in present:
        assert expected in found, f"{case}: {expected!r} is not in the PDF's text: {found!r}"
    for unwanted in absent:
        assert unwanted not in found, f"{case}: {unwanted!r} is in the PDF's text: {found!r}"


def test_empty_cells_and_an_empty_notebook():
    assert len(render(notebook(markdown(""), code(""), raw_cell(""))).pages) == 1
    assert len(render(notebook()).pages) == 1


def test_an_output_of_a_later_format():
    nb = notebook(code("x"), markdown("sau"))
    nb.nbformat_minor = 99
    nb.cells[0].outputs.append(nbformat.from_dict({"output_type": "future output", "metadata": {}}))
    assert "sau" in page_text(render(nb))


def test_no_cell_reaches_into_the_next():
    reader = render(
        notebook(
            markdown("<table><tr><td>mở"),
            markdown("```\ncode không đóng"),
            markdown("**sau** [a][1] chú[^1]\n\n[^1]: một"),
            markdown("cuối chú[^1]\n\n[^1]: hai\n\n[1]: http://a.vn"),
        )
    )
    found = page_text(reader)
    assert "sau [a][1]" in found, found
    assert "một" in found and "hai" in found, found


def test_heading_levels_never_skip():
    cells = [markdown("### a"), markdown("# b\n\n#### c"), markdown("###### d\n\n# e")]
    assert bookmarks(render(notebook(*cells)).outline) == ["a", "b", "c", "d", "e"]


def test_headings_in_outputs_are_no_sections():
    nb = notebook(markdown("# T\n\n## a"), shown({"text/markdown": "# to\n\nchữ"}))
    assert bookmarks(render(nb).outline) == ["a"]


def test_long_code_is_wrapped_inside_the_margins():
    word, line = "k" * 300, "từ " * 120
    source = f'a = "{word}"\nb = "{line}"'
    reader = render(notebook(code(source, stream(word + "\n")), markdown(f"```\n{word}\n```")))
    found = page_text(reader).replace(" ", "")
    assert found.count(word) == 3 and line.replace(" ", "") in found
    longest = max(len(row) for row in reader.pages[0].extract_text().splitlines())
    assert longest <= 106, f"a line of code has {longest} characters, where 105 fit"


@pytest.mark.parametrize(("columns", "rows"), [(9, 3), (22, 120)])
def test_wide_and_long_tables_fit(columns, rows):
    lines = ["|" + "|".join(f"cột {i}" for i in range(columns)) + "|", "|" + "--:|" * columns]
    lines += ["|" + "|".join(f"{i * 100 + k}.25" for i in range(columns)) + "|" for k in range(rows)]
    reader = render(notebook(shown({"text/markdown": "\n".join(lines)})))
    found = page_text(reader)
    for i in range(columns):
        for k in range(rows):
            assert f"{i * 100 + k}.25" in found, f"row {k}, column {i} is missing"
    if rows > 60:
        assert len(reader.pages) > 1
        assert "cột 0" in " ".join(reader.pages[1].extract_text().split()), "no header on page 2"
    edges = []
    for page in reader.pages:
        page.extract_text(visitor_text=lambda t, cm, tm, *_: edges.append(tm[4] * bool(t.strip())))
    assert max(edges) < 595 - 56, "the table reaches into the margin"


def pieces(reader: PdfReader) -> list[tuple[int, int, float, float]]:
    """Return of each piece of text: page, height on it, left edge, and right edge as it must at least be."""
    found = []
    for number, page in enumerate(reader.pages):

        def visit(text_, cm, tm, font, size, number=number):
            text_ = text_.replace("\u200b", "").strip()
            if text_:
                size *= tm[0] * cm[0]
                left = cm[4] + tm[4] * cm[0]
                right = left + 0.36 * size * len(text_.split("\n")[0])
                found.append((number, round(cm[5] + tm[5] * cm[3]), left, right))

        page.extract_text(visitor_text=visit)
    return found


def right_edge(reader: PdfReader) -> float:
    """Return how far the text reaches to the right."""
    return max(right for *_, right in pieces(reader))


def overlaps(reader: PdfReader) -> list[tuple]:
    """Return the pairs of pieces of text of which one begins before the other, on its line, has ended."""
    rows = sorted(pieces(reader))
    return [(a, b) for a, b in pairwise(rows) if a[:2] == b[:2] and b[2] < a[3] - 1]


HOUSING = ["longitude", "latitude", "housing_median_age", "total_rooms", "total_bedrooms", "population"]
HOUSING += ["households", "median_income", "median_house_value", "ocean_proximity"]


@pytest.mark.parametrize("times", [1, 2, 4])
def test_wide_tables_of_pandas_stay_on_the_page_and_apart(times):
    names = [name + "_x" * i for i in range(times) for name in HOUSING]
    row = "".join(f"<td>{-122.230000 + i:.6f}</td>" for i in range(len(names)))
    head = "<th></th>" + "".join(f"<th>{name}</th>" for name in names)
    html = f"<table class='dataframe'><thead><tr>{head}</tr></thead><tbody><tr><th>0</th>{row}</tr></tbody></table>"
    reader = render(notebook(shown({"text/html": html})))
    found = page_text(reader)
    for i, name in enumerate(names):
        assert f"{-122.230000 + i:.6f}".replace("-", "") in found
        assert name in found.replace(" ", ""), f"the heading {name} is torn apart or covered"
    assert right_edge(reader) <= 595 - 50
    assert not overlaps(reader)


def test_a_wide_matrix_stays_on_the_page():
    row = " & ".join(f"a_{{{i}}} + b_{{{i}}}" for i in range(20))
    matrix = f"\\begin{{bmatrix}} {row} \\\\ {row} \\end{{bmatrix}}"
    reader = render(notebook(markdown(f"$$A = {matrix}$$\n\nchữ $B = {matrix}$ chữ")))
    assert right_edge(reader) <= 595 - 50


def test_a_head_as_long_as_the_table_is_set():
    rows = "".join(f"<tr><th>{i}</th><th>{i * 7}</th></tr>" for i in range(150))
    reader = render(notebook(shown({"text/html": f"<table><thead>{rows}</thead></table>"})))
    assert "149 1043" in page_text(reader)


def test_long_outputs_are_cut_with_a_sentence():
    steps = [stream(f"bước {i}\n") for i in range(3000)]
    reader = render(notebook(code("x", *steps), code("y", stream("".join(f"dòng {i}\n" for i in range(19592))))))
    found = page_text(reader)
    assert len(reader.pages) <= 3
    assert "bước 29 Ở đây đã lược bớt 2 960 dòng; notebook có đủ. bước 2990" in found
    assert "lược bớt 19 552 dòng" in found and "dòng 19591" in found
    short = page_text(render(notebook(code("x", stream("".join(f"dòng {i}\n" for i in range(50)))))))
    assert "dòng 49" in short and "lược" not in short


def test_tall_pictures_fit_a_page():
    nb = notebook(markdown("trước"), shown({"image/png": png(100, 4000)}), markdown("sau"))
    reader = render(nb)
    assert len(reader.pages) <= 2
    assert "sau" in page_text(reader)


def test_alt_text_of_pictures_and_formulas():
    reader = render(
        notebook(
            markdown("$\\lambda = 1$ ![ảnh đính kèm](attachment:i.png)", attachments=PICTURE),
            code("x", figure(1, "Hình một.")),
        )
    )
    assert [e["/Alt"] for e in structure(reader, "/Formula")] == ["\\lambda = 1"]
    alts = [e.get("/Alt") for e in structure(reader, "/Figure")]
    assert {"ảnh đính kèm", "Mô tả hình 1"} <= set(alts), alts


# ---------------------------------------------------------------- the course's notebook


@pytest.fixture(scope="module")
def sample() -> PdfReader:
    """Return the PDF of a small notebook that uses every part of the contract."""
    rows = "| Lần | Độ chính xác |\n|:--|--:|\n| `sgd` | 97,25 ± 0,33 |\n"
    nb = course_notebook(
        code("def hidden_setup(): pass", tags=["setup"]),
        markdown("giấu chữ", metadata={"tags": ["hide"]}),
        code("hidden_code()", stream("hidden output"), tags=["hide"]),
        markdown("## Bài 1 – Mạng"),
        markdown("### Đề bài\n\n> **Bài 1**: vẽ. Xem Hình 1, Bảng 2 và Hình 9."),
        code(
            "draw(bai1)",
            display({"text/plain": "epoch 3/30"}, kind="progress"),
            text("caption", "**Hình 1.** chú thích lặp"),
            figure(1, "Đồ thị `loss` của *hai* lần chạy."),
        ),
        code("rows()", table(2, "Số đo **chính**.", rows)),
        code("say()", text("answer", "**Đạt 97,25 %.** Vì thế.\n\n- ✓ đúng\n- ✗ sai\n- ≈ gần")),
        markdown("## Tổng kết"),
        code("front()", table(3, "Mọi lần chạy.", rows.replace("97", "88"), kind="front")),
        code("abstract()", text("abstract", "Tóm lược nửa trang.")),
    )
    return render(nb)


def test_page_one(sample):
    first = page_text(sample, 0)
    for part in [
        "Thực hành Deep learning cho Khoa học dữ liệu (DS201)",
        "Bài thực hành 2: Các kỹ thuật tối ưu hoá mô hình",
        "MSSV: MSSV · Họ tên: Họ và tên · Lớp: DS201 · Ngày chạy: 23/11/2026",
        "Tóm lược nửa trang.",
        "Bảng 3. Mọi lần chạy. Lần Độ chính xác sgd 88,25 ± 0,33",
        "Mục lục Bài 1 – Mạng",
    ]:
        assert part in first, f"{part!r} is not on page 1: {first!r}"


def test_contract(sample):
    found = page_text(sample)
    for part in [
        "draw(bai1)",
        "Hình 1. Đồ thị loss của hai lần chạy.",
        "Bảng 2. Số đo chính. Lần Độ chính xác sgd 97,25 ± 0,33",
        "Đạt 97,25 %. Vì thế. • ✓ đúng • ✗ sai • ≈ gần",
        "Bảng 3. Mọi lần chạy.",
        "tensorflow 2.21.0",
    ]:
        assert part in found, f"{part!r} is not in the PDF: {found!r}"
    for part in [
        "hidden",
        "giấu",
        "epoch",
        "lặp",
        "leave_record",
        "say()",
        "front()",
        "SEED",
    ]:
        assert part not in found, f"{part!r} should have been left out"
    assert found.count("Tóm lược") == 1


def goals(reader: PdfReader) -> list[str]:
    """Return what the links lead to: the text of a heading or the number of a figure or table, and addresses."""
    found = []
    for page in reader.pages:
        for note in page.get("/Annots", []):
            target = note.get_object()
            found.append(target["/A"]["/URI"] if "/URI" in target.get("/A", {}) else "inside")
    return found


def test_references_are_links(sample):
    # four entries of the contents, Bài 1, Hình 1 and Bảng 2, but not Hình 9
    assert goals(sample) == ["inside"] * (4 + 3)


@pytest.mark.parametrize("mention", ["Hình 1", "hình 1", "Bảng 1", "bảng 1"])
def test_each_kind_of_mention_is_a_link(mention):
    outputs = [figure(1, "Một."), table(1, "Hai.", "| a |\n|:--|\n| b |")]
    assert goals(render(notebook(markdown(f"Xem {mention}."), code("x", *outputs)))) == ["inside"]


def test_what_a_section_is_called_links_to_it():
    text_ = "Xem Bài 2, bài 2, Mục 4 (L1), Mục 5, [nguồn](https://keras.io/api/)."
    cells = [markdown(f"# T\n\n## Bài 1\n\n{text_}"), markdown("## Bài 2 – L2"), markdown("## Mục 4 – L1\n\nBài 3")]
    contents = 3
    assert goals(render(notebook(*cells))) == ["inside"] * (contents + 3) + ["https://keras.io/api/"]


def test_the_contents_leave_out_headings_that_come_again():
    parts = [markdown(f"## Phần {i}\n\n### Đề bài\n\n### Riêng {i}\n\n#### Sâu {i}") for i in range(2)]
    first = page_text(render(notebook(markdown("# T"), *parts)), 0)
    contents = re.findall(r"([^\W\d]\w* ?\d?) (?:\. )+", first)
    assert contents == ["Phần 0", "Riêng 0", "Phần 1", "Riêng 1"], contents


def test_a_table_that_goes_on_says_so():
    rows = "".join(f"| {i} | {i * 7} |\n" for i in range(120))
    reader = render(course_notebook(code("x", table(2, "Dài.", "| Một | Hai |\n|--:|--:|\n" + rows))))
    assert len(reader.pages) >= 3
    for number in range(1, len(reader.pages)):
        if "7" in page_text(reader, number).split("Hai")[-1][:40]:
            assert "Bảng 2 (tiếp)" in page_text(reader, number) and "Một Hai" in page_text(reader, number)
    assert "(tiếp)" not in page_text(reader, 0)


def test_document(sample):
    root = sample.trailer["/Root"]
    assert root["/Lang"].lower().startswith("vi")
    assert root["/MarkInfo"]["/Marked"]
    assert sample.metadata.title == "Bài thực hành 2: Các kỹ thuật tối ưu hoá mô hình"
    assert sample.metadata.creation_date.date().isoformat() == "2026-11-23"
    xmp = root["/Metadata"].get_object().get_data().decode()
    assert re.search(r"pdfuaid:part\W+1\b", xmp), "the PDF does not claim PDF/UA-1"
    assert re.search(r"pdfaid:part\W+2\b", xmp), "the PDF does not claim PDF/A-2"
    titles = bookmarks(sample.outline)
    assert titles == ["Bài 1 – Mạng", "Đề bài", "Tổng kết", "Thông tin để chạy lại"]
    assert len(structure(sample, "/TH")) >= 4
    used = fonts(sample)
    assert all(used.values()), f"fonts not embedded: {used}"
    assert {name.split("-")[0] for name in used} <= {"LibertinusSerif", "DejaVuSansMono"}, used


def test_same_notebook_same_bytes():
    nb = course_notebook(markdown("## A 🎉\n\n$x$"), code("y", figure(1, "Một.")))
    first, second = (TypstPDFExporter().from_notebook_node(nb)[0] for _ in range(2))
    assert first == second


# ---------------------------------------------------------------- stale notebooks, and other limits


def cells_of(nb):
    """Return the code cells of a notebook."""
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def never_run(nb):
    cells_of(nb)[2].execution_count = None


def out_of_order(nb):
    cells_of(nb)[2].execution_count = 9


def edited(nb):
    cells_of(nb)[2].source += " + 1"


def added(nb):
    nb.cells.insert(4, code("z = 3"))
    for i, cell in enumerate(cells_of(nb), 1):
        cell.execution_count = i


def removed(nb):
    nb.cells.remove(cells_of(nb)[2])


def failed(nb):
    error = nbformat.v4.new_output("error", ename="ValueError", evalue="hỏng", traceback=["hỏng"])
    cells_of(nb)[2].outputs = [error]


def two_cells():
    """Return a notebook with code cells: settings, x, y, record."""
    return course_notebook(markdown("## Bài 2 – L2"), code("x = 1"), code("y = 2"))


@pytest.mark.parametrize(
    ("change", "cell", "what"),
    [
        (never_run, 3, "chưa được chạy"),
        (out_of_order, 4, "không theo thứ tự"),
        (edited, 3, "khác với mã đã chạy"),
        (added, 3, "khác với mã đã chạy"),
        (removed, 3, "khác với mã đã chạy"),
        (failed, 3, "đã dừng vì lỗi"),
    ],
)
def test_commands_refuse_a_stale_notebook_and_the_exporter_marks_it(change, cell, what):
    nb = two_cells()
    change(nb)
    with pytest.raises(ReportError) as refusal:
        files.render(nb, Path("a.ipynb"))
    message = str(refusal.value)
    assert f"ô mã thứ {cell} (mục “Bài 2 – L2”" in message and what in message, message
    assert "hãy chạy lại" in message and "\n" not in message
    first = page_text(render(nb), 0)
    assert what in first and "KẾT QUẢ CŨ" in first, first


def test_who_the_student_is_and_spaces_around_code_are_no_change():
    nb = two_cells()
    submit.personalize(nb, "21520000", 'O\'Neil "Tí"', "DS201.O11")
    cells_of(nb)[1].source += "\n\n"
    nb.cells.append(code(""))
    assert staleness(nb) is None


@pytest.mark.parametrize(
    ("before", "after"), [("SEED = 0", "SEED = 7"), ("SEED", "MSSV_2 = 1\nSEED"), ("\nLOP", "\n LOP")]
)
def test_any_other_line_of_the_settings_is_a_change(before, after):
    nb = two_cells()
    assert before in cells_of(nb)[0].source
    cells_of(nb)[0].source = cells_of(nb)[0].source.replace(before, after)
    assert "ô mã thứ 1 (dòng đầu" in str(staleness(nb)), "the numbers are still those of the old settings"


def test_a_foreign_notebook_needs_no_record():
    assert "x = 1" in page_text(render(notebook(code("x = 1"))))
    first = page_text(render(notebook(code("x = 1"), run=False)), 0)
    assert "ô mã thứ 1" in first and "ALLOW_STALE" not in first, first


@pytest.mark.parametrize(
    ("limit", "mark", "sentence"),
    [
        ({"profile": "quick"}, "BẢN CHẠY NHANH", "bản chạy nhanh (quick)"),
        ({"stand_in": True}, "DỮ LIỆU THAY THẾ", "Dữ liệu mnist là dữ liệu thay thế"),
    ],
)
def test_limits_are_stated_on_page_one_and_in_the_header(limit, mark, sentence):
    reader = render(course_notebook(*[markdown("## A\n\n" + "chữ\n\n" * 60)], **limit))
    assert sentence in page_text(reader, 0)
    for page in range(len(reader.pages)):
        assert mark in page_text(reader, page), f"no mark in the header of page {page + 1}"


# ---------------------------------------------------------------- commands


def command(*arguments):
    """Return the finished process of a Python module's command line."""
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )


def test_nbconvert_finds_the_exporters(tmp_path):
    path = tmp_path / "một sổ.ipynb"
    nbformat.write(notebook(code("x = 1", display({"image/svg+xml": SVG}))), path)
    for exporter in ("TypstPDFExporter", "TypstExporter"):
        done = command("nbconvert", "--to", f"report.exporter.{exporter}", path, "--no-input", "--output", "ra")
        assert done.returncode == 0, done.stderr
    assert "x = 1" not in page_text(PdfReader(tmp_path / "ra.pdf"))
    assert (tmp_path / "ra.typ").is_file()
    assert [p.suffix for p in (tmp_path / "ra_files").iterdir()] == [".svg"]


def test_build_says_one_sentence_when_it_refuses(tmp_path, capsys):
    nb = two_cells()
    never_run(nb)
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


def test_a_long_notebook_is_built_by_the_command(tmp_path):
    nbformat.write(full_notebook(exercises=20, figures=2, tables=3), tmp_path / "a.ipynb")
    done = command("report", "build", tmp_path / "a.ipynb", "--output", tmp_path / "a.pdf")
    assert done.returncode == 0, done.stderr
    assert len(PdfReader(tmp_path / "a.pdf").pages) >= 15


def test_a_terminal_line_keeps_its_last_state():
    assert clean("10 %\r50 %\r100 %\nxong\r\n") == "100 %\nxong\n"
    long = "x" * 1_000_000  # in one line, as interactive figures are: minutes, were the time quadratic
    assert clean(long) == long


def test_an_invalid_notebook_is_one_sentence(tmp_path, capsys):
    path = tmp_path / "a.ipynb"
    path.write_text('{"cells": [{"cell_type": "markdown"}], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}')
    assert main(["build", str(path)]) == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    assert "không phải notebook hợp lệ" in sentence


def test_typst_text_stands_alone():
    text_, resources = TypstExporter().from_notebook_node(notebook(markdown("# T\n\nchữ")))
    assert "chữ" in text_ and resources["output_extension"] == ".typ"


# ---------------------------------------------------------------- the committed pair


@pytest.fixture(scope="module")
def committed():
    """Return the committed notebook, its PDF, and the text of each page."""
    if not NOTEBOOK.exists():
        pytest.skip(f"{NOTEBOOK.name} does not exist yet")
    assert PDF.exists(), f"{PDF.relative_to(ROOT)} is missing: make report"
    pdf = PdfReader(PDF)
    return nbformat.read(NOTEBOOK, as_version=4), pdf, [p.extract_text() for p in pdf.pages]


def words(content: str) -> list[str]:
    """Return the words and numbers of a text, in order."""
    content = unicodedata.normalize("NFKC", content.replace("\u200b", ""))
    return re.findall(r"[^\W_]+", content)


def markdown_words(content: str) -> list[str]:
    """Return the words and numbers that a piece of Markdown shows, but for two kinds.

    Formulas, whose letters a PDF has in an order of its own; and Vietnamese in monospace, some of
    whose letters the font composes of two glyphs: Typst spells them by ActualText, which pypdf
    does not read.
    """
    hidden = r"\$\$?[^$]*\$\$?|\]\([^)]*\)|`[^`]*[^\x00-\x7f][^`]*`"
    return words(re.sub(hidden, " ", content))


def rejoined(text_words: list[str], known: set[str]) -> list[str]:
    """Return the words with those put together again that end a line inside, as LongNames in tables do."""
    result = []
    for word in text_words:
        if result and word[0].isupper() and len(word) > 3 and result[-1] + word in known:
            word = result.pop() + word
        result.append(word)
    return result


def find(block: list[str], text_words: list[str], start: int, gap: int = 60) -> int | None:
    """Return where a block ends that stands in a text from ``start`` on, None if nowhere.

    Its words must come in order; up to ``gap`` others may come between two of them, as the footer
    and header between two pages do.
    """
    for first in range(start, len(text_words)):
        end = first
        for i, word in enumerate(block):
            try:
                end = text_words.index(word, end, end + (gap if i else 1)) + 1
            except ValueError:
                break
        else:
            return end
    return None


def displayed(nb, *kinds):
    """Yield the kind and Markdown of the displayed outputs of some kinds, where not hidden."""
    for cell in nb.cells:
        if "hide" not in cell.metadata.get("tags", []):
            for output in cell.get("outputs", []):
                if bth2(output).get("kind") in kinds:
                    yield bth2(output), output.data.get("text/markdown", "")


def test_the_pdf_is_of_this_notebook(committed):
    nb, pdf, _ = committed
    expected = f"notebook-sha256:{notebook_hash(nb)}"
    assert expected in pdf.metadata["/Keywords"], (
        "the notebook has changed since report/MSSV_BaiThucHanh2.pdf was made: make report"
    )


def missing(nb, pages: list[str]) -> str | None:
    """Say which answer or table of a notebook is the first that the pages do not hold, in order and in full."""
    blocks = list(displayed(nb, "answer", "predictions", "table"))
    text_words = rejoined(words(" ".join(pages)), {word for _, content in blocks for word in words(content)})
    position = 0
    assert blocks, "the notebook displays no answers or tables"
    for meta, content in blocks:
        # Code in a narrow column goes on below its row, so pypdf reads its words elsewhere.
        content = re.sub("`[^`]*`", " ", content) if "`" in content and meta["kind"] == "table" else content
        end = find(markdown_words(meta.get("caption", "") + " " + content), text_words, position)
        name = f"{meta['kind']} {meta.get('number', '')}: {content[:80]!r}"
        if end is None:
            return name
        position = end
    return None


def test_every_answer_and_table_is_in_the_pdf_in_order(committed):
    nb, _, pages = committed
    assert missing(nb, pages) is None, "not in the PDF after what stands before it"


def drop_a_table(typst: str) -> str:
    return "" if "table(" in typst else typst


def misprint_a_digit(typst: str) -> str:
    return typst.replace("97,25", "97,26")


@pytest.mark.parametrize("fault", [drop_a_table, misprint_a_digit])
def test_a_faulty_exporter_is_noticed(monkeypatch, fault):
    """The check above is no good unless it sees an exporter that loses a table or changes a digit."""
    rows = "| Lần | Đúng |\n|:--|--:|\n| a | 97,25 |\n"
    nb = course_notebook(
        code("x", table(1, "Số đo.", rows), text("answer", "Đạt 90 %.")), code("y", table(2, "B.", rows))
    )
    assert missing(nb, [page_text(render(nb))]) is None
    converted = markup.pandoc
    monkeypatch.setattr(
        markup, "pandoc", lambda fragments: (found := converted(fragments)) | {"typst": [*map(fault, found["typst"])]}
    )
    assert "table 1" in missing(nb, [page_text(render(nb))])


def test_the_committed_pdf_is_what_this_exporter_makes(committed):
    """A digit misprinted or a table dropped by the exporter shows against the PDF that is handed out."""
    nb, _, pages = committed
    fresh = render(nb)
    for number, (old, page) in enumerate(zip(pages, fresh.pages, strict=True), start=1):
        assert words(page.extract_text()) == words(old), (
            f"page {number} is not what the exporter makes now: make report"
        )


def test_every_figure_is_in_the_pdf(committed):
    nb, pdf, pages = committed
    figures = [meta for meta, _ in displayed(nb, "figure")]
    alts = [e.get("/Alt") for e in structure(pdf, "/Figure")]
    assert figures, "the notebook displays no figures"
    for meta in figures:
        assert meta["alt"] in alts, f"no figure with the alt text of Hình {meta['number']}"
    text_words = words(" ".join(pages))
    for meta in figures:
        caption = f"Hình {meta['number']}. {meta['caption']}"
        assert find(markdown_words(caption), text_words, 0), f"not in the PDF: {caption}"


def test_page_one_of_the_committed_pdf(committed):
    nb, _, pages = committed
    first = words(pages[0])
    fronts = list(displayed(nb, "abstract", "front"))
    assert {meta["kind"] for meta, _ in fronts} == {"abstract", "front"}
    for meta, content in fronts:
        assert find(markdown_words(content), first, 0), f"the {meta['kind']} is not on page 1"


def test_the_committed_pdf_is_accessible(committed):
    nb, pdf, _ = committed
    root = pdf.trailer["/Root"]
    assert root["/Lang"].lower().startswith("vi")
    assert root["/MarkInfo"]["/Marked"] and "/StructTreeRoot" in root
    assert nb.cells[0].source.splitlines()[0] == f"# {pdf.metadata.title}"
    assert all(fonts(pdf).values()), "a font is not embedded"
    assert all(e.get("/Alt") for e in structure(pdf, "/Formula")), "a formula has no alt text"
    sections = [
        line.removeprefix("## ").strip()
        for cell in nb.cells
        if cell.cell_type == "markdown" and "hide" not in cell.metadata.get("tags", [])
        for line in cell.source.splitlines()
        if line.startswith("## ")
    ]
    titles = [re.sub(r"^\d+\. ", "", title) for title in bookmarks(pdf.outline)]
    for section in sections:
        assert re.sub(r"[*`_$]", "", section) in titles, f"no bookmark for {section!r}"


def test_the_committed_pdf_has_a_fit_size(committed):
    _, pdf, _ = committed
    assert 15 <= len(pdf.pages) <= 20, f"{len(pdf.pages)} pages"
    assert PDF.stat().st_size < 5 * 2**20


def filled(reader: PdfReader) -> list[float]:
    """Return how far down each page is filled, from 0 to 1: figures end with a caption, so text tells."""
    top, bottom = 841.9 - 56.7, 48.2  # the margins of style.typ
    lowest = dict.fromkeys(range(len(reader.pages)), top)
    for page, height, *_ in pieces(reader):
        if height > bottom - 4:
            lowest[page] = min(lowest[page], height)
    return [(top - low) / (top - bottom) for low in lowest.values()]


def test_no_page_of_the_committed_pdf_is_left_open(committed):
    _, pdf, _ = committed
    *fills, _ = filled(pdf)
    assert min(fills) >= 0.85, "filled: " + ", ".join(f"p. {i} {fill:.0%}" for i, fill in enumerate(fills, 1))


def test_a_page_left_open_is_seen():
    first, second = filled(render(notebook(markdown("x\n\n" * 200), markdown("x\n\n" * 3))))[:2]
    assert first > 0.95 and filled(render(notebook(markdown("x"))))[0] < 0.1 < second


def test_find_keeps_order_and_gaps():
    assert find(["a", "b"], ["x", "a", "y", "b"], 0) == 4
    assert find(["b", "a"], ["x", "a", "y", "b"], 0) is None
    assert find(["a", "b"], ["a", *["x"] * 99, "b"], 0) is None
    row = markdown_words("| **Bài 1** | `sgd` | 97,25 ± 0,33 |")
    assert find(row, words("Bài 1 sgd 97,25 ± 0,33"), 0)
    assert find(row, words("Bài 1 sgd 97,26 ± 0,33"), 0) is None
