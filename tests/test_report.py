"""The report: what a notebook may hold, when it is refused, and the committed pair of files."""

import io
import json
import os
import re
import subprocess
import sys
import unicodedata
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
import report_samples as made
from nbconvert.nbconvertapp import NbConvertApp
from nbformat.v4 import new_output, new_raw_cell
from pypdf import PdfReader
from report_samples import SVG, code, course_notebook, display, figure, markdown, notebook, picture, shown, table, text

from report import files, markup, submit
from report.__main__ import main
from report.exporter import TypstPDFExporter, notebook_hash
from report.freshness import ReportError, bth2, find_record, source_hash, staleness
from report.markup import clean

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK, PDF = ROOT / "MSSV_BaiThucHanh2.ipynb", ROOT / "report" / "MSSV_BaiThucHanh2.pdf"


def export(nb, folder="") -> tuple[PdfReader, list[str]]:
    """The PDF of a notebook, as which Typst checks PDF/UA-1 and PDF/A-2a, and what was replaced in it."""
    resources = {"metadata": {"name": "Sổ", "path": str(folder)}}
    pdf, resources = TypstPDFExporter().from_notebook_node(nb, resources)
    return PdfReader(io.BytesIO(pdf)), resources["notes"]


def render(*cells, folder="") -> PdfReader:
    """The PDF of a notebook or of one with these cells; nothing in it may have been replaced."""
    nb = cells[0] if "cells" in cells[0] else notebook(*cells)
    reader, notes = export(nb, folder)
    assert not notes, f"Typst refused parts of it: {notes}"
    return reader


def render_cases(cases: dict, folder="") -> tuple[PdfReader, dict[str, str]]:
    """One PDF of all cases, each a cell or cells, and the text of each."""
    cells = []
    for number, case in enumerate(cases.values()):
        cells += [markdown(f"Trường hợp {number}:"), *(case if isinstance(case, list) else [case])]
    reader = render(*cells, markdown("Trường hợp cuối"), folder=folder)
    found = re.sub(r" ?Trang \d+ / \d+( Sổ)?", "", page_text(reader))
    found = re.split(r"Trường hợp (?:\d+:|cuối)", found)[1:-1]
    return reader, dict(zip(cases, map(str.strip, found), strict=True))


def page_text(reader: PdfReader, number: int | None = None) -> str:
    """The text of a page, or of all, with every run of white space as one space."""
    pages = reader.pages if number is None else [reader.pages[number]]
    joined = " ".join(page.extract_text() for page in pages).replace("\u200b", "")
    return " ".join(unicodedata.normalize("NFKC", joined).split())


def says(found: str, *parts: str) -> None:
    assert [part for part in parts if part not in found] == [], f"left out of {found!r}"


def objects(reader: PdfReader, key: str, value: str) -> list[dict]:
    """The objects of a PDF of which this is true, as "/S": "/TH" of the heads of tables, in reading order."""
    found = [reader.get_object(number) for number in range(1, reader.trailer["/Size"])]
    return [one for one in found if isinstance(one, dict) and one.get(key) == value]


def goals(reader: PdfReader) -> list[int | str]:
    """Where the links lead: the number of a page, or an address."""

    def goal(link):
        if "/A" in link:
            return link["/A"]["/URI"]
        place = link["/Dest"]
        place = place.decode() if isinstance(place, bytes) else place
        page = reader.named_destinations[place]["/Page"] if isinstance(place, str) else place[0]
        return reader.get_page_number(page.get_object()) + 1

    return [goal(link) for link in objects(reader, "/Subtype", "/Link")]


def drawn(reader: PdfReader) -> list[tuple[int, int]]:
    """Width and height of the pictures, in points."""
    boxes = [one["/A"][0]["/BBox"] for one in objects(reader, "/S", "/Figure")]
    return [(round(right - left), round(top - bottom)) for left, bottom, right, top in boxes]


def bookmarks(outline) -> list[str]:
    """The titles of the bookmarks of all levels, in order."""
    return [title for entry in outline for title in (bookmarks(entry) if isinstance(entry, list) else [entry.title])]


def read(reader: PdfReader) -> tuple[list[str], list[tuple]]:
    """The text of each page, and of each piece of text: page, height on it, left edge, right edge as it must at least
    be, text, font."""
    found, pages = [], []
    for number, page in enumerate(reader.pages):

        def visit(text_, cm, tm, font, size, number=number):
            if text_ := text_.replace("\u200b", "").strip():
                left, bottom = cm[4] + tm[4] * cm[0], round(cm[5] + tm[5] * cm[3])
                right = left + 0.36 * size * tm[0] * cm[0] * len(text_.split("\n")[0])
                found.append((number, bottom, left, right, text_, (font or {}).get("/BaseFont", "")))

        pages.append(page.extract_text(visitor_text=visit))
    return pages, sorted(found, key=lambda piece: piece[:5])


def stays_on_the_page(reader: PdfReader) -> None:
    """No text reaches into the right margin and none begins before its neighbour has ended."""
    _, found = read(reader)
    assert max(piece[3] for piece in found) <= 595 - 50, "text reaches into the margin"
    over = [(a[4], b[4]) for a, b in pairwise(found) if a[:2] == b[:2] and b[2] < a[3] - 1]
    assert not over, f"text stands over text: {over}"


# ---------------------------------------------------------------- what a notebook may hold
def test_content_becomes_text():
    cases = {source: (markdown(source), said) for source, said in made.MARKDOWN.items()} | made.CELLS
    reader, found = render_cases({case: cells for case, (cells, _) in cases.items()})
    assert found == {case: said for case, (_, said) in cases.items()}
    alts = [one["/Alt"] for one in objects(reader, "/S", "/Figure")]
    assert alts == [*"89", "Ảnh đầu của hoạt hình", "ảnh", *"1234567"], "the pictures, by their alt texts"


def test_rules_of_arrays_stand_where_they_stood():
    fenced, bare = (
        "\\left[\\begin{array}{cc|c} 1&2&3 \\\\ \\hline 4&5&6 \\\\ \\hline \\end{array}\\right]",
        "\\begin{array}{c|c} &2 \\end{array}",
    )
    code_ = markup.pandoc([{"format": markup.MARKDOWN, "text": f"${fenced} {bare}$", "key": "1"}], set())["typst"][0]
    says(
        code_,
        'mat(augment: #(hline: (1, 2, ), vline: (2, )), delim: "[", 1, 2, 3; 4, 5, 6)',
        "vline: (1, )), delim: #none",
    )


def test_a_caption_of_a_figure_stands_apart_from_what_follows():
    text = made.WITH_CAPTION.replace("attachment:i.png", "a.png") + "\n\n<label>sau</label> đó"
    code_ = markup.pandoc([{"format": markup.MARKDOWN, "text": text, "key": "1"}], set())["typst"][0]
    assert re.search(r"thích\W*\n\s*\n\W*sau", code_), code_


def test_notebooks_with_nothing_in_them_and_of_later_formats():
    assert len(render(markdown(""), code(""), new_raw_cell("")).pages) == len(render(notebook()).pages) == 1
    later = notebook(code("x"), markdown("sau"))
    later.nbformat_minor = 99
    later.cells[0].outputs.append(nbformat.from_dict({"output_type": "future", "metadata": {}}))
    assert "sau" in page_text(render(later))


LETTERS = [*map(chr, range(0x1EA0, 0x1EFA)), *"ÀÁÂÃÈÉÊÌÍÒÓÔÕÙÚÝàáâãèéêìíòóôõùúýĂăĐđĨĩŨũƠơƯư"]


def test_every_vietnamese_letter_is_drawn_by_one_font_and_copied_as_it_is():
    lines, cells = ["".join(LETTERS[i : i + 12]) for i in range(0, len(LETTERS), 12)], []
    for form in ("NFC", "NFD"):
        text_ = unicodedata.normalize(form, "\n".join(lines))
        rows = "".join(f"| `{line}` | {line} |\n" for line in text_.split("\n"))
        cells += [code(f'"""{text_}"""', text_), markdown(f"| mã | chữ |\n|:--|:--|\n{rows}")]
    pages, found = read(render(*cells))
    copied = "".join(pages)
    assert [line for line in lines if copied.count(line) != 8] == [], f"copied as {copied!r}"
    fonts = {piece[5].split("+")[1] for piece in found if set(piece[4]) & set(LETTERS)}
    assert {font.partition("-")[0] for font in fonts} == {"JetBrainsMono", "LibertinusSerif"}, "drawn by others, too"


# ---------------------------------------------------------------- headings, links, references
def test_heading_levels_never_skip_and_outputs_have_no_sections():
    cells = ["### a", "# b\n\n#### 1. c", "###### d\n\n# e"]
    reader = render(shown({"text/markdown": "# to"}), *map(markdown, cells))
    assert bookmarks(reader.outline) == ["a", "b", "1. c", "d", "e"]


def test_title_and_contents_and_what_may_stand_in_them():
    """The contents have neither what comes again, nor what is deep, nor notes and pictures; a note is its cell's."""
    title = "# Đo $\\lambda$ ![a](khong-co.png)[^1]\n\n[^1]: lời một"
    cells = [
        f"## Phần {i}[^1]\n\n### Đề bài\n\n### Riêng ![b](khong-co.png)\n\n#### Sâu\n\n[^1]: lời {i}" for i in (2, 3)
    ]
    reader = render(*map(markdown, [title, cells[0], cells[1].replace("Riêng", "Khác"), "cuối chú[^1] [a][1]"]))
    found = page_text(reader)
    says(
        found,
        "Đo λ [Hình: a]1 Mục lục Phần 2",
        "Phần 22 Đề bài Riêng [Hình: b]",
        "1lời một 2lời 2 3lời 3",
        "[^1] [a][1]",
    )
    assert re.findall(r"([^\W\d]\w* ?\d?) (?:\. )+", found) == ["Phần 2", "Riêng", "Phần 3", "Khác"]
    assert reader.metadata.title == "Đo λ"


IN, OUT = [2], []
LINKS = {
    "[a](#neo)": IN, "[a](#ten)": IN, "[a](#T)": [1], "[a](#h2)": IN, "[a](#anh)": IN,
    "[a](#trong)": IN, "[a](#eq-e)": IN, "[a](#khong)": OUT, "[a](a.csv)": OUT,
    "[a](#2.-Mô-hình)": IN, "[a](#2-mô-hình)": IN, "[a](#2.-M%C3%B4-h%C3%ACnh)": IN, "[a](#2.%20Mô%20hình)": IN,
    "Hình 1": IN, "hình 1,": IN, "Hình 9": OUT, "Bảng 1": IN, "(bảng 1)": IN, "\\eqref{e}": IN,
    "Bài 2": IN, "bài 2": IN, "Bài 3": OUT, "Mục 4 (L1)": IN, "Mục 5": OUT,
    "[nguồn](https://keras.io/api/)": ["https://keras.io/api/"],
}  # fmt: skip


def test_addresses_and_mentions_of_figures_and_sections_are_links():
    targets = [
        markdown('<a id="neo"></a>\n## 2. Mô hình\n\nchữ <a name="ten"></a> $$x \\label{e}$$'),
        code("x", figure(1, "Một."), table(1, "Hai.", "| a |\n|:--|\n| b |")),
        markdown("## Bài 2 – L2\n\nBài 3"),
        markdown('## Mục 4 – L1 <a id="trong"></a>\n\n<h2 id="h2">H</h2>\n\n<img id="anh" src="a.png">'),
    ]
    texts = "\n\n".join(f"{text_} [hết](http://{i})" for i, text_ in enumerate(LINKS))
    wanted = [goal for i, leads in enumerate(LINKS.values()) for goal in [*leads, f"http://{i}"]]
    pages = "\n\nchữ" * 30
    assert goals(render(markdown(f"# T\n\n{texts}{pages}"), *targets)) == IN * 4 + wanted


# ---------------------------------------------------------------- what is wide, long or large
NUMBERS = {  # tables with heads 90000 + column and cells 10000 + 100 row + column: in how many bands they stand
    "narrow": (made.html(made.frame(6)), 1),
    "wide": (made.html(made.frame(30, "ab")), 3),
    "wide, groups cut by bands": (made.html(made.frame(30, "abc")), 3),
    "a span from the first row": (made.html(made.SPAN), 0),
    "in Markdown": (markdown(f"x\n\n{made.SPAN}\n\ny"), 0),
    "a span over all": (made.html(made.SIDE), 0),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_every_number_of_a_table_stands_under_its_column(case):
    cell, bands = NUMBERS[case]
    found = read(reader := render(cell))[1]
    numbers = [piece for piece in found if re.fullmatch(r"1\d{4}", piece[4])]
    wanted = set(re.findall(r"\b1\d{4}\b", str(cell)))
    assert sorted(piece[4] for piece in numbers) == sorted(wanted), "one is lost or stands twice"
    for page, height, left, _, number, _ in numbers:
        heads = [piece for piece in found if piece[4] == str(90000 + int(number) % 100) and piece[0] == page]
        assert any(abs(head[2] - left) < 8 and head[1] > height for head in heads), f"{number} is not under its head"
    for name in ("MNIST", "CIFAR-10", "hàng5"):
        assert page_text(reader).count(name) == bands, f"{name} of the index does not stand in each band"
    stays_on_the_page(reader)


def test_what_is_wide_or_long_stays_on_the_page_and_apart():
    row = " & ".join(f"a_{{{i}}} + b_{{{i}}}" for i in range(20))
    matrix = f"\\begin{{bmatrix}} {row} \\\\ {row} \\end{{bmatrix}}"
    word, line, norm = "k" * 300, "từ " * 120, f"\\left\\| {row.replace('&', '+')} \\right\\|"
    names = [f"median_house_value_{100 + i}" + "_x" * (i % 4) for i in range(70)]
    numbers, frames = [f"{1000 + i}.250000" for i in range(70)], []
    for some in (slice(0, 10), slice(10, 30), slice(30, 70)):
        heads, cells = "<th>".join(["", "", *names[some]]), "<td>".join(["<th>0", *numbers[some]])
        frames.append(made.html(f"<table><thead><tr>{heads}</tr></thead><tbody><tr>{cells}</tr></tbody></table>"))
    reader = render(
        shown({"text/markdown": made.grid(22, 50)}),
        shown({"text/markdown": made.grid(9, 3)}),
        *frames,
        markdown(f"$$A = {matrix}$$\n\nchữ $B = {matrix}$ chữ\n\n```\n{word}\n```"),
        code(f'a = "{word}"\nb = "{line}"', word),
        made.html("<table><thead>" + "<tr><th>1</th><th>2</th></tr>" * 100 + "</thead></table>"),
        shown({"image/png": picture(100, 4000)}),
        markdown(f"{word} **{word}** <http://{word}>\n\n- {word}\n\n| {word} |\n|--|\n| {'0' * 110} |"),
        markdown(f"chữ ${norm}$ chữ\n\n$${norm}$$\n\nsau"),
    )
    found = page_text(reader).replace(" ", "")
    says(found, *names, *numbers, *[f"{c * 100 + r}.25" for c in range(22) for r in range(50)])
    says(found, line.replace(" ", ""), "sau")
    assert found.count(word) == 3 + 5
    assert "cột 0" in page_text(reader, 1), "the head is not repeated"
    stays_on_the_page(reader)


# fmt: off
LONG = {  # an output or cell, what stands where it is cut, its end
    "lines": ("".join(f"dòng {i}\n" for i in range(3000)),
        "dòng 29 Ở đây đã lược bớt 2 960 dòng; notebook có đủ. dòng 2990", "dòng 2999"),
    "one line": (str([*range(70000)]), "ký tự; notebook có đủ.", "69999]"),
    "one word": (display({"text/plain": "x" * 400_000}), "ký tự; notebook có đủ.", "xxx"),
    "a frame": (display({"text/html": made.frame(9, rows=1500), "text/plain": "<9>"}), "hàng28 12800", "309908"),
    "a frame and its text": (
        display({"text/html": made.frame(9, rows=1500), "text/plain": "h  9\n" * 3000}), "lược bớt", "h 9"),
    "a Markdown table": (display({"text/markdown": made.grid(2, 3000)}), "lược bớt 2 962 dòng", "3099.25"),
    "lines in HTML": (
        display({"text/html": "<pre>" + "\n".join(map(str, range(9000))) + "</pre>"}), "lược bớt", "8999"),
    "a paragraph": (display({"text/markdown": "từ " * 90_000}), "ký tự", "từ"),
    "a word of Markdown": (markdown("01" * 100_000), "(Ở đây đã lược bớt 199 400 ký tự; notebook có đủ.)", "101"),
    "a word of code": (code("x = '" + "k" * 200_000), "lược bớt 199 401 ký tự", "kkk"),
    "many outputs": (
        code("", *[display({"text/html": f"<b>{i}</b>"}) for i in range(1500)]), "98 99 100", "bớt 1 399 kết quả"),
}
# fmt: on


def test_long_outputs_are_cut_with_a_sentence_and_short_ones_are_whole():
    short = "".join(f"dòng {i}\n" for i in range(50))
    cases = {kind: one if "cell_type" in one else code("", one) for kind, (one, *_) in LONG.items()}
    cases["short"] = code("", short)
    found = render_cases(cases)[1]
    assert found["short"] == " ".join(short.split())
    for kind, (_, *said) in LONG.items():
        says(found[kind], *said)
        assert len(found[kind]) < 9000, f"what is set of {kind} is still too long"
    long = "x" * 1_000_000  # in one line, as interactive figures are: minutes, were the time quadratic
    assert clean(long) == long
    assert markup.printed("Tên\tĐiểm") == '#raw("Tên     Điểm", block: true, lang: none)'


def test_pictures_are_as_large_as_the_notebook_says(tmp_path):
    (tmp_path / "a.png").write_bytes(picture(1200, 800))
    data = {"image/png": picture(1200, 800)}
    cells = [shown(data, {"image/png": {"width": 300, "height": 200}}), shown(data, {"width": 300})]
    drawing = '<svg %s viewBox="0 0 300 160"><path style="stroke-width:2" stroke="red" d="M9 9H99"/></svg>'
    whole = [drawing % size for size in ("", 'width="100%"', 'style="stroke-width:2"')]
    reader = render(*map(made.html, whole), *map(markdown, whole), made.html(f"chữ {drawing % 'width=16'}"))
    assert drawn(reader) == [(225, 120)] * 6, "drawings without a width of their own, and an icon"
    sizes = ["width=300", "height=200 ", 'style="width: 300px"', 'style="max-width:9px;height:150pt"', 'width="225pt"']
    cells += [markdown(f"<img src='a.png' {size}>") for size in sizes]
    *found, within_a_line = drawn(render(*cells, markdown("a <img src='a.png' style='width:30%'>"), folder=tmp_path))
    assert found == [(225, 150)] * 7
    assert within_a_line[0] == round(0.3 * 120 / 25.4 * 72), "30 % of the 120 mm for pictures within a line"


def test_a_picture_is_what_its_bytes_are(tmp_path):
    forms = [
        "a.png JPEG L",
        "b.jpg PNG L",
        "c.jpg WEBP RGB",
        "d.bmp BMP RGB",
        "E.PNG PNG L",
        "f.jpg JPEG CMYK",
    ]
    cells = []
    for name, *form in map(str.split, [*forms, "g TIFF CMYK", "h.gif GIF L"]):
        (tmp_path / name).write_bytes(content := picture(24, 16, *form))
        cells += [markdown(f"![{name}]({name})"), shown({"image/png": content})]
    reader = render(*cells, folder=tmp_path)
    assert len(drawn(reader)) == len(cells), page_text(reader)


# ---------------------------------------------------------------- what Typst refuses
WRONG = {"Typst": ("#panic()", "panic()"), "PDF/A": ("\ue000", r"\"\ue000\"")}  # for HỎNG in a text, LỖI in a formula


def let_be_wrong(monkeypatch, text_: str, formula: str) -> None:
    """Let the Typst code be wrong of texts that say HỎNG and of formulas that say LỖI."""
    converted = markup.pandoc

    def wrongly(*arguments):
        found = json.dumps(converted(*arguments), ensure_ascii=False)
        return json.loads(found.replace("HỎNG", text_).replace(r"\"LỖI\"", formula))

    monkeypatch.setattr(markup, "pandoc", wrongly)


@pytest.mark.parametrize("wrong", WRONG)
def test_what_typst_refuses_costs_itself_and_is_named(monkeypatch, wrong):
    let_be_wrong(monkeypatch, *WRONG[wrong])
    before = [markdown(f"## đoạn {i}") for i in range(8)]
    broken = shown({"image/png": picture(400, 400)[:90]})
    cells = [broken, markdown("## Mục\n\nmột $x_\\text{LỖI}$ hai"), markdown("*HỎNG* ba"), markdown("sau $y$")]
    reader, notes = export(notebook(*before, *cells))
    says(page_text(reader), "đoạn 7 [Hình: Hình do mã vẽ ra] Mục một x_\\text{LỖI} hai *HỎNG* ba sau y")
    assert [re.sub("”.*nhận", "”", note) for note in notes] == [
        "Ô 9 (“” một hình, thay bằng chú thích của hình.",
        "Ô 10 (“## Mục một $x_\\text{LỖI}$ hai” công thức x_\\text{LỖI}, thay bằng mã LaTeX.",
        "Ô 11 (“*HỎNG* ba” một phần, thay bằng chữ gốc.",
    ]


@pytest.mark.parametrize("program", ["report.exporter", "report.markup"])
def test_who_waits_too_long_is_told_which_cell_to_shorten(monkeypatch, program):
    monkeypatch.setattr(f"{program}.PATIENCE", 0.001)
    with pytest.raises(ReportError, match=r"Sau .* giây vẫn chưa dựng xong: hãy rút ngắn ô 2 \(“dài dài"):
        export(notebook(markdown("ngắn"), markdown("dài " * 500)))


def test_as_last_resort_the_standards_are_given_up_and_the_report_says_so(monkeypatch):
    monkeypatch.setattr(TypstPDFExporter, "_find_rejected", lambda *_: set())
    with monkeypatch.context() as once, pytest.raises(ReportError, match="không dựng được"):
        let_be_wrong(once, *WRONG["Typst"])
        export(notebook(markdown("HỎNG")))
    let_be_wrong(monkeypatch, *WRONG["PDF/A"])
    reader, (note,) = export(notebook(markdown("HỎNG còn")))
    says(page_text(reader), "còn", "không theo chuẩn PDF/UA-1")
    assert "không theo chuẩn" in note


# ---------------------------------------------------------------- the course's notebook
CONTRACT = """
Học phần khác (DS300) Bài thực hành 2: Các kỹ thuật tối ưu hoá mô hình
MSSV: MSSV · Họ tên: Họ và tên · Lớp: DS201 · Ngày chạy: 23/11/2026
Tóm lược nửa trang. Bảng 3. Mọi lần chạy. Lần Độ chính xác sgd 88,25 ± 0,33
Mục lục Bài 1 – Mạng 1 Đề bài 1 Tổng kết [party popper] 1 Thông tin để chạy lại 1
Bài 1 – Mạng Đề bài Bài 1: vẽ λ = 1. Xem Hình 1, Bảng 2 và Hình 9. • Kỳ vọng: tăng
draw() Hình 1. Đồ thị loss của hai lần chạy.
rows() Bảng 2. Số đo chính. Lần Độ chính xác sgd 97,25 ± 0,33
Đạt 97,25 %. Vì thế. • ✓ đúng • ✗ sai • ≈ gần Kỳ vọng tăng ✓
Tổng kết [party popper]
Thông tin để chạy lại Mục Giá trị Chạy ngày 23/11/2026 Hồ sơ chạy full Seed đầu tiên 0
Dữ liệu mnist keras.datasets Máy Linux, 2 nhân Thời gian huấn luyện 21 phút, cộng mọi lần huấn luyện
Phiên bản python 3.11.7, tensorflow 2.21.0 Notebook (SHA-256) # Trang 1 / 1
"""


def is_accessible(reader: PdfReader) -> None:
    """What Typst checks of PDF/UA-1 and PDF/A-2a was asked for, and whose fonts these are."""
    root = reader.trailer["/Root"]
    xmp = root["/Metadata"].get_object().get_data().decode()
    assert re.search(r"pdfuaid:part\W+1\b", xmp) and re.search(r"pdfaid:part\W+2\b", xmp), "no claim of the standards"
    assert root["/Lang"].lower().startswith("vi")
    fonts = [font["/BaseFont"] for font in objects(reader, "/Type", "/Font")]
    others = [font for font in fonts if not re.search(r"\+(Libertinus|JetBrainsMono|DejaVuSansMono|NewCM)", font)]
    assert fonts and not others, f"{others} are no fonts of the wheels"


def test_contract():
    """A small notebook that uses every part of the contract."""
    rows = "| Lần | Độ chính xác |\n|:--|--:|\n| `sgd` | 97,25 ± 0,33 |\n"
    front = table(3, "Mọi lần chạy.", rows.replace("97", "88"), kind="front")
    drawing = figure(1, "Đồ thị `loss` của *hai* lần chạy.")
    caption = text("caption", "**Hình 1.** Đồ thị `loss` của *hai* lần chạy. (lặp)", "Hình 1")
    verdicts = text("verdicts", "| Kỳ vọng | |\n|:--|:--|\n| tăng | ✓ |", "Bài 1")
    answer = text("answer", "**Đạt 97,25 %.** Vì thế.\n\n- ✓ đúng\n- ✗ sai\n- ≈ gần", "Bài 1")
    cells = [
        code("front_and_abstract()", text("abstract", "Tóm lược nửa trang."), front),
        code("def hidden_setup(): pass", tags=["setup"]),
        markdown("giấu chữ", tags=["hide"]),
        code("hidden_code()", "hidden output", tags=["hide"]),
        markdown("## Bài 1 – Mạng"),
        markdown("### Đề bài\n\n> **Bài 1**: vẽ $\\lambda = 1$. Xem Hình 1, Bảng 2 và Hình 9."),
        code("expect()", text("expect", "- Kỳ vọng: tăng", "Bài 1")),
        code("draw()", display({"text/plain": "epoch 3/30"}, kind="progress"), caption, drawing),
        code("rows()", table(2, "Số đo **chính**.", rows)),
        code("say()", answer, verdicts),
        markdown("## Tổng kết 🎉"),
    ]
    nb = course_notebook(*cells, course="Học phần khác (DS300)")
    reader = render(nb)
    assert re.sub(r"[0-9a-f]{64}", "#", page_text(reader)).replace(" .", "") == " ".join(CONTRACT.split())
    assert goals(reader) == [1] * (4 + 3), "four entries of the contents, Bài 1, Hình 1 and Bảng 2"
    is_accessible(reader)
    assert reader.metadata.title == "Bài thực hành 2: Các kỹ thuật tối ưu hoá mô hình"
    assert reader.metadata.creation_date.date().isoformat() == "2026-11-23"
    assert bookmarks(reader.outline) == ["Bài 1 – Mạng", "Đề bài", "Tổng kết 🎉", "Thông tin để chạy lại"]
    assert [one["/Alt"] for one in objects(reader, "/S", "/Formula")] == ["\\lambda = 1"]
    assert [one["/Alt"] for one in objects(reader, "/S", "/Figure")] == ["Mô tả hình 1"]
    assert len(objects(reader, "/S", "/TH")) == 8
    assert reader.stream.getvalue() == render(nb).stream.getvalue(), "the same notebook gives other bytes"
    assert "(DS201)" in page_text(render(course_notebook()), 0), "the course of records that do not name it"


def test_a_table_that_goes_on_says_so():
    reader = render(course_notebook(code("x", table(2, "Dài.", made.grid(2, 120)))))
    first, *others = [page_text(reader, number) for number in range(len(reader.pages))]
    assert "(tiếp)" not in first and len(others) >= 2
    for found in others:
        assert ".25" not in found or re.search(r"Bảng 2 \(tiếp\) ?cột 0 cột 1", found), found


# ---------------------------------------------------------------- stale notebooks, and other limits
def sealed():
    """A notebook with code cells: settings, x, y (figure, caption, table), z (answer, verdicts), record."""
    caption = text("caption", "**Hình 1.** Chú thích.", "Hình 1")
    seen = [figure(1, "Chú thích."), caption, table(2, "B.", "| a |\n|:--|\n| 97 |")]
    said = [text("answer", "Đạt 97 %.", "Bài 2"), text("verdicts", "| ✓ |\n|:--|", "Bài 2")]
    return course_notebook(markdown("## Bài 2 – L2"), code("x = 1"), code("y", *seen), code("z", *said))


def cells_of(nb):
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def run_again(nb):
    """Let the third cell have been interrupted and run again with all below: the record holds both runs."""
    hashes = find_record(nb).cells
    for cell in reversed(cells_of(nb)[2:]):
        hashes[str(cell.execution_count + 1)] = hashes[str(cell.execution_count)]
        cell.execution_count += 1


def edit_and_run_below(nb):
    """Let the third cell have been edited after the run, and run with all below: the record holds the old ones, too."""
    hashes, cells = find_record(nb).cells, cells_of(nb)
    cells[2].source += "  # khác"
    for count, cell in enumerate(cells[2:], start=len(cells) + 1):
        cell.execution_count, hashes[str(count)] = count, source_hash(cell)


BROKEN = new_output("error", ename="E", evalue="", traceback=[""])
Y, Z = "ô mã thứ 3 (mục “Bài 2 – L2”", "“Bài 2” (mục “Bài 2 – L2”)"
OTHER_CODE, OTHER_RESULT = "khác với mã đã chạy", "không phải là kết quả đã chạy"
# fmt: off
CHANGES = {  # what is done to cells (settings, x, y, z): what the sentence says
    "never run": (lambda s, x, y, z: y.update(execution_count=None), Y, "chưa được chạy"),
    "out of order": (lambda s, x, y, z: y.update(execution_count=9), Y, OTHER_CODE),
    "run before": (lambda s, x, y, z: y.update(execution_count=1), Y, "không theo thứ tự"),
    "failed": (lambda s, x, y, z: y.outputs.append(BROKEN), Y, "đã dừng vì lỗi"),
    "edited": (lambda s, x, y, z: y.update(source="y + 1"), Y, OTHER_CODE),
    "exchanged": (lambda s, x, y, z: x.update(source="y"), "ô mã thứ 2", OTHER_CODE),
    "a setting like a name": (lambda s, x, y, z: s.update(source="MSSV_2 = 1\n" + s.source), "ô mã thứ 1", OTHER_CODE),
    "a picture": (lambda s, x, y, z: y.outputs[0].data.update({"image/svg+xml": ""}), "hình “f1” (mục", OTHER_RESULT),
    "a caption": (lambda s, x, y, z: y.outputs[1].data.update({"text/markdown": "khác"}), "hình “f1”", OTHER_RESULT),
    "a caption for the PDF": (
        lambda s, x, y, z: y.outputs[0].metadata.bth2.update(caption="khác"), "hình “f1”", OTHER_RESULT),
    "a sentence": (
        lambda s, x, y, z: z.outputs[0].data.update({"text/markdown": "Đạt 99 %."}), f"câu trả lời {Z}", OTHER_RESULT),
    "a cell removed": (lambda s, x, y, z: x.update(source=""), "có ô mã đã chạy", "bị xoá"),
    "one removed": (lambda s, x, y, z: y.outputs.pop(2), "bảng “t2”", "đã bị xoá"),
    "the last removed": (lambda s, x, y, z: z.outputs.pop(1), "đối chiếu kỳ vọng “Bài 2”", "đã bị xoá"),
    "one twice": (lambda s, x, y, z: z.outputs.append(z.outputs[0]), f"câu trả lời {Z}", "được thêm vào"),
    "one of another run": (
        lambda s, x, y, z: z.outputs.append(text("answer", "A.", "Bài 9")), "“Bài 9”", "được thêm vào"),
    "two exchanged": (lambda s, x, y, z: y.outputs.reverse(), "bảng “t2”", "không đứng ở chỗ của nó"),
    "known no more": (lambda s, x, y, z: y.outputs[2].pop("metadata"), "bảng “t2”", "đã bị xoá"),
}
# fmt: on


@pytest.mark.parametrize("change", CHANGES)
def test_commands_refuse_a_stale_notebook_and_the_exporter_marks_it(change):
    edit, where, what = CHANGES[change]
    nb = sealed()
    edit(*cells_of(nb)[:4])
    with pytest.raises(ReportError) as refusal:
        files.render(nb, Path("a.ipynb"))
    says(str(refusal.value), where, what, "hãy chạy lại")
    assert "\n" not in str(refusal.value)
    if change == "edited":
        says(page_text(render(nb), 0), what, "KẾT QUẢ CŨ")


@pytest.mark.parametrize("form", [lambda nb: nb, run_again, edit_and_run_below])
def test_what_is_no_change(form):
    nb = sealed()
    form(nb)
    submit.personalize(nb, "21520000", 'O\'Neil "Tí"', "DS201.O11")
    cells_of(nb)[1].source += "\n\n"
    nb.cells.append(code(""))
    assert staleness(nb) is None
    nb = nbformat.reads(nbformat.writes(nb), as_version=4)
    assert staleness(nb) is None, "after it was saved and read back"


def test_a_foreign_notebook_needs_no_record_but_says_that_it_was_not_run():
    assert staleness(notebook(code("x = 1"))) is None
    says(page_text(render(notebook(code("x = 1"), run=False)), 0), "ô mã thứ 1", "x = 1")


def test_limits_are_stated_on_page_one_and_in_the_header():
    reader = render(course_notebook(markdown("## A\n\n" + "chữ\n\n" * 60), profile="quick", stand_in=True))
    says(page_text(reader, 0), "bản chạy nhanh (quick)", "Dữ liệu mnist là dữ liệu thay thế")
    for number in range(len(reader.pages)):
        says(page_text(reader, number), "BẢN CHẠY NHANH · DỮ LIỆU THAY THẾ")


# ---------------------------------------------------------------- commands
@pytest.mark.parametrize("name", ["TypstPDFExporter", "TypstExporter"])
def test_nbconvert_finds_the_exporters(tmp_path, monkeypatch, name):
    monkeypatch.chdir(ROOT)
    path = tmp_path / "một sổ.ipynb"
    nbformat.write(notebook(code("x = 1", display({"image/svg+xml": SVG}))), path)
    command = NbConvertApp()
    command.initialize(["--to", f"report.exporter.{name}", str(path), "--no-input", "--output", "ra"])
    command.start()
    if name == "TypstPDFExporter":
        assert "x = 1" not in page_text(PdfReader(tmp_path / "ra.pdf"))
    else:
        assert "#picture(" in (tmp_path / "ra.typ").read_text(encoding="utf-8")
        assert [p.suffix for p in (tmp_path / "ra_files").iterdir()] == [".svg"]


def test_a_console_without_all_letters_gets_plain_ones():
    """As in Windows; help and a refusal in one process, as its start takes longest."""
    lines = "import contextlib, report.__main__ as r\nwith contextlib.suppress(SystemExit): r.main(['--help'])\n"
    line = [sys.executable, "-c", lines + "r.sys.exit(r.main(['build', 'none.ipynb']))"]
    windows = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    done = subprocess.run(line, cwd=ROOT, env=windows, capture_output=True, check=False, timeout=300)
    assert done.returncode == 1 and "notebook dã luu ? PDF" in done.stdout.decode("cp1252")
    assert done.stderr.decode("cp1252").startswith("Không tìm thay notebook")


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
    said, (stale, none, other) = (printed.splitlines() for printed in capsys.readouterr())
    assert said == [f"Đã ghi {pdf}"]
    assert "ô mã thứ 3" in stale and "Không tìm thấy" in none and "Không đọc được" in other


# fmt: off
WHOLE = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}}
CELL = {"cell_type": "code", "source": "chữ", "metadata": {}, "outputs": [], "execution_count": 1}
TEXT = {"cell_type": "markdown", "source": "chữ", "metadata": {}, "id": "b", "outputs": [], "khác": 1}
TWICE = [CELL | {"id": "a"}, CELL | {"id": "a", "execution_count": 2}]
WIDGETS = {"widgets": {"application/vnd.jupyter.widget-state+json": {}}}
OPENED = {  # what is in a file: why it is refused, if it is
    "ids twice, other keys, dead widgets": ({**WHOLE, "cells": [*TWICE, TEXT], "metadata": WIDGETS}, None),
    "no id": ({**WHOLE, "cells": [CELL]}, None),
    "ids too early": ({**WHOLE, "cells": TWICE, "nbformat_minor": 4}, None),
    "version 3": ({"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": []}]}, None),
    "no metadata of kernels": ({**WHOLE, "cells": [], "metadata": {"kernelspec": {}}}, None),
    "no source": (
        {**WHOLE, "cells": [TEXT, {"cell_type": "raw", "id": "a", "metadata": {}}]}, "ô 2 thiếu khoá “source”"),
    "no metadata": ({**WHOLE, "cells": [{"cell_type": "raw", "source": "x"}]}, "ô 1 thiếu khoá “metadata”"),
    "no name of a stream": (
        {**WHOLE, "cells": [CELL | {"outputs": [{"output_type": "stream", "text": "1"}]}]},
        "ô 1, output 1, thiếu khoá “name”"),
    "no cells": (WHOLE, "notebook thiếu khoá “cells”"),
    "a list": ([], "không phải tệp notebook"),
    "cells of numbers": ({**WHOLE, "cells": [5]}, "ô 1 sai định dạng"),
}
# fmt: on


@pytest.mark.parametrize("case", OPENED)
def test_what_jupyter_opens_is_opened_and_a_refusal_gives_its_reason(tmp_path, case):
    content, reason = OPENED[case]
    path = tmp_path / "a.ipynb"
    path.write_text("\ufeff" + json.dumps(content), encoding="utf-8")
    if reason is None:
        assert files.render(files.read_notebook(path), path, allow_stale=True).startswith(b"%PDF")
    else:
        with pytest.raises(ReportError, match=f"{reason}.*Hãy tạo lại phần ấy"):
            files.read_notebook(path)


def test_html_shows_results_without_the_code_of_set_up(tmp_path):
    tags = ("setup", "hide-input", "hide", "khác")
    cells = [code(f"mã_{tag}", f"ra_{tag}", tags=[tag]) for tag in tags]
    nbformat.write(notebook(*cells), tmp_path / "a.ipynb")
    assert main(["html", str(tmp_path / "a.ipynb"), "--output", str(tmp_path / "a.html")]) == 0
    page = re.sub("<[^>]*>", "", (tmp_path / "a.html").read_text(encoding="utf-8"))
    assert re.findall(r"(?:mã|ra)_[\w-]+", page) == ["ra_setup", "ra_hide-input", "mã_khác", "ra_khác"]


# ---------------------------------------------------------------- the committed pair
@pytest.fixture(scope="module")
def committed():
    """The committed notebook, its PDF, and of each page the text and the pieces of it."""
    pdf = PdfReader(PDF)
    return nbformat.read(NOTEBOOK, as_version=4), pdf, *read(pdf)


def words(content: str) -> str:
    """The letters and digits of a text, as one word: where lines and long names are broken does not matter."""
    return "".join(re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", content.replace("\u200b", ""))))


def displayed(nb, *kinds) -> list[tuple[dict, str]]:
    """What the notebook says of the outputs of some kinds, where not hidden, and their Markdown."""
    cells = [cell for cell in nb.cells if "hide" not in cell.metadata.get("tags", [])]
    found = [(bth2(output), output) for cell in cells for output in cell.get("outputs", [])]
    found = [(meta, output.data.get("text/markdown", "")) for meta, output in found if meta.get("kind") in kinds]
    assert {meta["kind"] for meta, _ in found} == {*kinds}, "the notebook does not display each of these"
    return found


def missing(nb, pages: list[str], *kinds) -> str | None:
    """Which line of outputs of these kinds is the first that the pages do not hold, in order.

    Formulas and addresses are left out: a PDF has the letters of a formula in another order.
    """
    found, position = words(re.sub(r"\nTrang \d+ / \d+\n.*", "", "\n".join(pages))), 0
    for meta, content in displayed(nb, *kinds):
        for part in re.split(r"\$\$?[^$]*\$\$?|\]\([^)]*\)|\n", f"{meta.get('caption', '')}\n{content}"):
            position = found.find(words(part), position)
            if position < 0:
                return f"{meta['kind']} {meta.get('number', '')}: {part}"
    return None


def test_the_committed_pdf_is_of_this_notebook_and_holds_what_it_shows_in_order(committed):
    nb, pdf, pages, _ = committed
    assert f"notebook-sha256:{notebook_hash(nb)}" in pdf.metadata["/Keywords"], "the notebook has changed: make report"
    kinds = ["answer", "expect", "verdicts", "table", "figure"]
    assert missing(nb, pages, *kinds) is None, "not in the PDF after what stands before it"
    assert missing(nb, pages[:1], "abstract", "front") is None, "not on page 1"
    assert missing(nb, [page.replace(",9", ",8") for page in pages], *kinds), "other digits would not be noticed"
    alts = {one.get("/Alt") for one in objects(pdf, "/S", "/Figure")}
    assert {meta["alt"] for meta, _ in displayed(nb, "figure")} <= alts, "a figure is not there, or without its text"


def test_the_committed_pdf_is_what_this_exporter_makes(committed):
    """A digit misprinted or a table dropped by the exporter shows against the PDF that is handed out."""
    nb, _, pages, _ = committed
    if (made_now := render(nb)).stream.getvalue() == PDF.read_bytes():
        return
    for number, (old, page) in enumerate(zip(pages, made_now.pages, strict=True), start=1):
        assert words(page.extract_text()) == words(old), f"page {number} is not what is made now: make report"


def test_the_committed_pdf_is_accessible_has_its_sections_and_leaves_no_page_open(committed):
    nb, pdf, _, found = committed
    is_accessible(pdf)
    assert nb.cells[0].source.splitlines()[0] == f"# {pdf.metadata.title}"
    sources = [c.source for c in nb.cells if c.cell_type == "markdown" and "hide" not in c.metadata.get("tags", [])]
    sections = re.findall(r"(?m)^## +(.*?) *$", re.sub(r"[*`_$]", "", "\n".join(sources)))
    titles = [re.sub(r"^\d+\. ", "", title) for title in bookmarks(pdf.outline)]
    assert [section for section in sections if section not in titles] == [], "no bookmark for these"
    assert 15 <= len(pdf.pages) <= 20 and PDF.stat().st_size < 5 * 2**20
    top, bottom = 841.9 - 56.7, 48.2  # the margins of style.typ; figures end with a caption, so text tells
    lowest = {page: height for page, height, *_ in reversed(found) if height > bottom - 4}
    fills = [(top - lowest[page]) / (top - bottom) for page in range(len(pdf.pages) - 1)]
    assert min(fills) >= 0.85, "filled: " + ", ".join(f"p. {i} {fill:.0%}" for i, fill in enumerate(fills, 1))
