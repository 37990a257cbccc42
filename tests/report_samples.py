"""Small notebooks for the tests of ``report/``: written by nbformat, no kernel needed."""

import base64
import io
import re
import unicodedata

from matplotlib.animation import FuncAnimation
from matplotlib.figure import Figure
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell
from PIL import Image
from sklearn.linear_model import LogisticRegression

from report.freshness import bth2, checksum, code_cells, source_hash

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="300" height="150"><path d="M9 90L290 20" stroke="red"/></svg>'
SETTINGS = 'SEED = 0\nMSSV = "MSSV"  # mã số sinh viên\nHO_TEN = "Họ và tên"\nLOP = "DS201"'


def picture(width: int, height: int, kind: str = "PNG", mode: str = "L") -> bytes:
    """The bytes of a grey picture."""
    Image.new(mode, (width, height), "gray").save(written := io.BytesIO(), kind)
    return written.getvalue()


def encoded(data: dict) -> dict:
    """What an output or a cell holds of pictures and texts."""
    return {mime: base64.b64encode(c).decode() if isinstance(c, bytes) else c for mime, c in data.items()}


def markdown(source: str, tags=(), **pictures: bytes) -> NotebookNode:
    """A Markdown cell with its attachments."""
    attachments = {name: encoded({"image/png": content}) for name, content in pictures.items()}
    return new_markdown_cell(source, attachments=attachments, metadata={"tags": list(tags)})


def code(source: str, *outputs, tags=(), **metadata) -> NotebookNode:
    """A code cell; a text among its outputs was printed. Its execution count is set by ``notebook``."""
    outputs = [new_output("stream", text=o) if isinstance(o, str) else o for o in outputs]
    return new_code_cell(source, outputs=outputs, metadata={"tags": list(tags), **metadata})


def display(data: dict, metadata=None, **about) -> NotebookNode:
    """A displayed output with what the notebook says of it."""
    return new_output("display_data", encoded(data), metadata=metadata or ({"bth2": about} if about else {}))


def shown(data: dict, metadata=None) -> NotebookNode:
    """A displayed output, in a code cell without code."""
    return code("", display(data, metadata))


def figure(number: int, caption: str) -> NotebookNode:
    about = {"kind": "figure", "key": f"f{number}", "number": number, "caption": caption}
    return display({"image/svg+xml": SVG, "text/plain": "Figure"}, alt=f"Mô tả hình {number}", **about)


def table(number: int, caption: str, text: str, kind="table") -> NotebookNode:
    about = {"kind": kind, "key": f"t{number}", "number": number, "caption": caption}
    return display({"text/markdown": text}, **about)


def text(kind: str, markdown_text: str, key="") -> NotebookNode:
    """An answer, an abstract or a caption."""
    return display({"text/markdown": markdown_text}, kind=kind, key=key)


def notebook(*cells, run=True) -> NotebookNode:
    """A foreign notebook: no record; code cells numbered in order if ``run``."""
    nb = new_notebook(cells=list(cells), metadata={"language_info": {"name": "python"}})
    for i, cell in enumerate(nb.cells):
        cell["id"] = f"cell-{i}"
    for i, (_, cell) in enumerate(code_cells(nb) if run else (), 1):
        cell.execution_count = i
    return nb


def course_notebook(*cells, profile="full", stand_in=False, **settings) -> NotebookNode:
    """A notebook as the course's: title, settings cell, ``cells``, record with its seal."""
    title = "# Bài thực hành 2: Các kỹ thuật tối ưu hoá mô hình\n\nĐoạn mở đầu bị bỏ."
    last = code("leave_record()", tags=["record"])
    nb = notebook(markdown(title), code(SETTINGS, tags=["settings"]), *cells, last)
    outputs = [(bth2(output), output) for cell in nb.cells for output in cell.get("outputs", [])]
    record = {
        "version": 1,
        "settings": {"mssv": "MSSV", "ho_ten": "Họ và tên", "lop": "DS201", "seed": 0, **settings},
        "profile": profile,
        "executed": "2026-11-23",
        "data": {"mnist": {"source": "keras.datasets", "stand_in": stand_in}},
        "versions": {"python": "3.11.7", "tensorflow": "2.21.0"},
        "machine": "Linux, 2 nhân",
        "seconds": 1234.5,
        "cells": {str(cell.execution_count): source_hash(cell) for _, cell in code_cells(nb)},
        "shown": [
            [f"{meta['kind']} {meta.get('key', '')}", checksum(output)]
            for meta, output in outputs
            if meta.get("kind", "progress") != "progress"
        ],
    }
    last.outputs = [display({"text/plain": "Đã ghi."}, kind="record", record=record)]
    return nb


# What libraries write for browsers
FRAME = (
    "<div>\n<style scoped>\n    .dataframe tbody tr th {\n        vertical-align: top;\n    }\n</style>\n"
    "<table border='1'><thead><tr style='text-align: right;'><th></th><th>tên_cột</th><th>điểm</th></tr></thead><tbody>"
    "<tr><th>0</th><td>#a$</td><td>1.25</td></tr><tr><th>1</th><td>*b_</td><td>-3e-05</td></tr></tbody></table></div>"
)
IN_FRAME = "tên_cột điểm 0 #a$ 1.25 1 *b_ −3e-05"
OBJECT = "<IPython.core.display.HTML object>"
PLOTLY, WIDGET = "application/vnd.plotly.v1+json", "application/vnd.jupyter.widget-view+json"
ONLY_THERE = "[Nội dung tương tác ({}): chỉ xem được trong notebook]"
XARRAY = (
    "<div><svg style='width: 0'><symbol id='i'/></svg><pre>&lt;xarray.Dataset&gt; 2</pre><div style='display:none'>"
    "<ul><li><input><label>Dimensions:</label></li></ul><img src='data:image/png;base64,AAAA'></div></div>"
)
COLAB = (
    f"<div>{FRAME}<div><button title='nút' style='display:none;'><svg height='24px' width='24px'>"
    "<path d='M0 0h24v24'/></svg>bấm</button><script>const q = 1</script></div></div>"
)
MAP = "<div><span>Make this Notebook Trusted to load map</span><iframe srcdoc='x'></iframe></div>"
VIDEO = "<video><source src='data:video/mp4;base64,AA'>Your browser does not support the video tag.</video>"
VECTOR = "<dl><dt>$ten</dt><dd><ol class=list-inline><li>'a_1'</li><li>'b_2'</li></ol></dd></dl>"
SPAN = (
    "<table><tr><th rowspan='2'>Tập</th><th>90001</th><th>90002</th></tr>"
    "<tr><td>10001</td><td>10002</td></tr><tr><td>C</td><td>10101</td><td>10102</td></tr></table>"
)
SIDE = "<table><tr><th rowspan=2>Tập</th><th>90001</th><th>90002</th></tr><tr><td>10001</td><td>10002</td></tr></table>"
WITH_CAPTION = '<figure><img src="attachment:i.png" alt="8"><figcaption>Chú <b>thích</b></figcaption></figure>'
VEGA = "<VegaLite 5 object>\n\nIf you see this message, it means the renderer has not been enabled."
LINKED = "\x1b]8;;http://a.vn\x1b\\liên\x1b]8;;\x1b\\ \x1b]8;;http://b.vn\x07kết\x1b]8;;\x07 \x1b(Bxa"
DRAWING = f"<table><tr><td>Bytes</td><td>{SVG}<svg width='16'><path/></svg></td></tr></table>"


def grid(columns: int, rows: int) -> str:
    """A Markdown table; its cell in row r and column c holds 100c + r + 0.25."""
    lines = [[f"cột {c}" for c in range(columns)], ["--:"] * columns]
    lines += [[f"{c * 100 + r}.25" for c in range(columns)] for r in range(rows)]
    return "".join(f"|{'|'.join(line)}|\n" for line in lines)


def frame(columns: int, groups="-", rows=3) -> str:
    """A data frame as pandas writes it: two levels of index, and of columns where there are groups.

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


# ---------------------------------------------------------------- what a notebook may hold
SPECIAL = "# $ @tag < > _ * \\ ` ~ \" ' [ ] / // = - + #let x = 1 #panic() $5 a_b_c"
ESCAPED = re.sub(r"([\\`<$])", r"\\\1", SPECIAL)
# fmt: off
MARKDOWN = {  # a cell: what the PDF says
    f"## Mục {ESCAPED}\n\nChữ: {ESCAPED}": f"Mục {SPECIAL} Chữ: {SPECIAL}",
    "= a\n\n/ b: c\n\n#set page()\n\n// d\n\n**đ**.e *f*[g] *h*(i) `k`.l":
        "= a / b: c #set page() // d đ.e f[g] h(i) k.l",
    "---\na: [b\n---\nno front matter": "a: [b no front matter",
    "giá $5 và $10.": "giá $5 và $10.",
    "$\\|W\\|_2$ $$\\sum_i y_i$$\n\n\\begin{align}\na&=b\\\\c&=d\n\\end{align}": "‖W‖2 ∑ i yi a = b c = d",
    "### Còn\n\n$\\badmacro{x}$ rồi $f$(x) và $g$.h": "Còn \\badmacro{x} rồi f(x) và g.h",
    # words that pandoc or Typst has otherwise
    "$\\texttt{ab}\\cap\\odot\\otimes \\dbinom nk \\nonumber$": "ab ∩ ⊙ ⊗ (n k)",
    "$0{,}35$ $\\begin{matrix}1 & 20 \\\\ 3 & 4\\end{matrix}$": "0,35 1 3 20 4",
    "$\\let\\eps\\varepsilon \\eps$ $\\ce{SO4^2-}$ $\\ce{2H2 + O2 -> 2H2O}$": "ε SO2− 4 2H2 + O2 → 2H2O",
    "$\\left\\| \\frac ab \\right\\|$ $\\left\\lVert x \\right\\rVert$": "‖a b‖ ‖x‖",
    "$\\begin{cases} x & y \\\\ 7 & 8 \\end{cases}$ $\\begin{cases} a \\\\ b \\end{cases}$": "{x y 7 8 {a b",
    "$\\textcolor{blue}{c}$ ${\\rm argmin}$ ${a_{\\rm x} \\over 2} + \\bf W$": "c argmin ax 2 + W",
    # an environment that begins a line, lines that would begin a list
    "$E = \\frac{1}{2}\n\\begin{bmatrix}\n1 & 2 \\\\\n- 3 & 4\n\\end{bmatrix}\n+ 1$ sau":
        "E = 1 2[ 1 −3 2 4] + 1 sau",
    "a $$ $$ b $$$$ c $ $ d": "a b c$ $ d",
    "Hệ số $ (\\lambda) $ và $ x $; giá $ 5 hay $ 6; `$ (\\mu) $`": "Hệ số (λ) và x; giá $ 5 hay $ 6; $ (\\mu) $",
    # a table right below text, with breaks and formulas
    "Ở bảng:\n| $\\|W\\|$ | b |\n|:--|--:|\n| một<br>hai $|x|$ | `c \\| d` |\n": "Ở bảng: ‖W ‖ b một hai | x | c | d",
    "> trích\n> |e|\n> |-|\n> |f|\n": "trích e f",
    "chữ\n- một\n  - hai\n    1. ba\n- [x] xong\n- [ ] chưa": "chữ • một ‣ hai 1. ba • ☒ xong • ☐ chưa",
    "[một](#đâu-đó) [hai](tep.csv) [ba](http://a.vn/?x=1&y_z=2#t) <https://b.vn/_c_>": "một hai ba https://b.vn/_c_",
    "<b>đậm</b> H<sub>2</sub>O $x^2$<br>dòng\n\n<div align=center>\n\n**giữa**\n\n</div>": "đậm H2O x2 dòng giữa",
    "<details><summary>tóm tắt</summary>kỹ</details><!-- ẩn --><script>alert(1)</script>": "tóm tắt kỹ",
    "<span>$y^2$</span> sau <div><table><tr><th>A</th></tr><tr><td>7</td></tr></table></div>": "y2 sau A 7",
    "<div><b>mở\n\nvẫn đọc được<table><tr><td>ô": "mở vẫn đọc được ô",
    "```\nmở": "mở",
    "````js\nlet s = `#{y}`; // ```\n\\begin{align}\n````\n\n    thụt # vào":
        "let s = `#{y}`; // ``` \\begin{align} thụt # vào",
    "![b](khong-co.png) ![c](https://a.vn/c.png)": "[Hình: b] [Hình: c]",
    "vui 🎉 👩‍🚀 ✅ 日 và `🎉` $🎉$ ✓ ✗ ≈ →":
        "vui [party popper] [woman][rocket] [white heavy check mark] [U+65E5] và [party popper] [party popper] ✓ ✗ ≈ →",
    "##": "",  # PDF/UA forbids a heading without text
    "## ![](khong-co.png)\n\nđề mục là ảnh": "[Hình: khong-co.png] đề mục là ảnh",
}
# fmt: on

ESTIMATOR = LogisticRegression(C=2)._repr_html_()
ANIMATION = FuncAnimation(Figure(figsize=(2, 1)), lambda _: [], frames=2).to_jshtml()
MACROS = "$$\\newcommand{\\vect}[1]{\\boldsymbol{#1}}\\DeclareMathOperator{\\argmin}{arg\\,min}$$"
LABELS = "$$L = 1 \\label{e:c}$$\n\n\\begin{align}\na&=b\\tag{A}\\label{a}\\\\c&=d\n\\end{align}"
PRINTED = "\x1b[31mđà\x1b[0m \x07chuông\n10%\r 50%\r100%\nso 1.5 \b, sau\n-\b \bxong N\bNA\bA\nabcd"
PNG = picture(9, 9)


def html(source: str, plain=OBJECT):
    return shown({"text/html": source, "text/plain": plain})


# fmt: off
CELLS = {  # a cell, or cells: what the PDF says
    "special characters": (code(f"# {SPECIAL}", f"in: {SPECIAL}"), f"# {SPECIAL} in: {SPECIAL}"),
    "macros of earlier cells": (
        [markdown(MACROS), markdown("$\\def\\R{\\mathbb R}\\vect{w} \\in \\R$"), markdown("$\\argmin \\R$")],
        "w ∈ R arg min R"),
    "labels, tags and what cites them": (
        [markdown(LABELS), markdown("Xem $\\eqref{e:c}$, (\\ref{a}), \\eqref{a} và $x = \\eqref{a}$.")],
        "L = 1 (1) a = b (A) c = d Xem (1), (A), (A) và x = (A)."),
    "a vector of R": (html(VECTOR), "$ten 'a_1' · 'b_2'"),
    "a data frame": (html(FRAME, "plain"), IN_FRAME),
    "a data frame of Colab": (html(COLAB, "plain"), IN_FRAME),
    "a table as Markdown": (
        shown({"text/markdown": "| a | b |\n|:--|--:|\n| `x\\|y` | 1,5 |\n| cuối | 2,5 |"}), "a b x|y 1,5 cuối 2,5"),
    "LaTeX": (shown({"text/latex": "$\\displaystyle x^{2} + 1$"}), "x2 + 1"),
    "JSON with a text": (shown({"application/json": {}, "text/plain": "{'a': 1}"}), "{'a': 1}"),
    "JSON": (shown({"application/json": {"lớp": 1}, "text/plain": "<IPython.core.display.JSON object>"}),
        '{ "lớp": 1 }'),
    "an Altair figure": (
        shown({"application/vnd.vegalite.v5+json": {}, "text/plain": VEGA}), ONLY_THERE.format("vegalite")),
    "a form nobody knows": (shown({"application/pdf": "x"}), ONLY_THERE.format("pdf")),
    "labels": ([html("<div><label for=a>Tên:</label> An</div>"), markdown("<label>Tuổi:</label> 20")],
        "Tên: An Tuổi: 20"),
    "a caption in HTML, and an alt text": (
        [markdown(f"{WITH_CAPTION}\n\n![9](attachment:i.png)", **{"i.png": PNG}),
         html(WITH_CAPTION.replace("attachment:i.png", "a.png"))],
        "Chú thích [Hình: 8] Chú thích"),
    "links of a terminal": (code("", LINKED), "liên kết xa"),
    "HTML first": (shown({"text/html": "<i>H</i>", "text/latex": "L", "text/markdown": "M", "text/plain": "p"}), "H"),
    "LaTeX before pictures": (shown({"text/latex": "kiểu $y$", "image/png": PNG, "text/plain": "p"}), "kiểu y"),
    "a script with text": (html("<script>1</script>", "chữ thay"), "chữ thay"),
    "a style": (html("<style>.a{width:1px}</style>"), ""),
    "JavaScript": (shown({"application/javascript": "a()", "text/plain": OBJECT.replace("HTML", "Javascript")}), ""),
    "HTML beside a script": (html("<b>Kết quả</b><script>1</script>"), "Kết quả"),
    "a widget": (shown({WIDGET: {}, "text/plain": "HBox()"}), ONLY_THERE.format("widget")),
    "a bar of progress": (shown({WIDGET: {}, "text/plain": "  0%|    | 0/10 [00:00<?]"}), ""),
    "a Plotly figure": (shown({PLOTLY: {"data": []}}), ONLY_THERE.format("plotly")),
    "a Plotly figure with HTML": (
        shown({PLOTLY: {}, "text/html": "<div><script>Plotly.newPlot()</script><div class=p></div></div>"}),
        ONLY_THERE.format("plotly")),
    "a map": (html(MAP, "<Map at 0x7f>"), ONLY_THERE.format("HTML")),
    "a video": (html(VIDEO), ONLY_THERE.format("HTML")),
    "an estimator": (html(ESTIMATOR, "plain"), "plain"),
    "an animation": (html(ANIMATION), ""),
    "HTML with its own fall-back": (html(XARRAY, "<xarray.Dataset>\nDimensions: 2"), "<xarray.Dataset> Dimensions: 2"),
    "a drawing in HTML": (html(DRAWING), "Bytes"),
    "ANSI colours, backspaces, carriage returns": (
        code("", PRINTED, "ef\rxy"), "đà chuông 100% so 1.5, sau xong NA xycdef"),
    "a raw cell": (new_raw_cell("\\documentclass #raw <b>"), "\\documentclass #raw <b>"),
    "another language": (code('%%bash\necho $HOME "#{x}" `ls`'), '%%bash echo $HOME "#{x}" `ls`'),
    "a picture that is none": (markdown("![hỏng](attachment:i.png) *còn*", **{"i.png": b"no"}), "[Hình: hỏng] còn"),
    "attachments, however their names are spelt": ([
        markdown("![1](attachment:i.png) ![2](attachment:%C4%91%E1%BB%93.png) ![3](attachment:a b.png)"
            " ![4](<attachment:a b.png>) ![5](attachment:a%20b.png) sáu",
            **dict.fromkeys(["i.png", "a b.png", unicodedata.normalize("NFD", "đồ.png")], PNG)),
        markdown("![6](attachment:a%20b.png)", **{"a%20b.png": PNG}),
        markdown('<img alt="7" src="attachment:a b.png">', **{"a b.png": PNG}),
    ], "sáu"),
    "emoji in code": (code('print("🎉")', "🚀"), 'print("[party popper]") [rocket]'),
    "what only PDF/UA and PDF/A forbid": (
        [code("print('\ue0b0')", "\ufeffMSSV \uffff\ue0b0 hết"), html(FRAME.replace("điểm", "\ufeffđiểm"))],
        f"print('[U+E0B0]') MSSV [U+E0B0] hết {IN_FRAME}"),
    "folds and tags of others": ([
        code("nguồn_1", "ra 1", jupyter={"source_hidden": True}),
        code("nguồn_2", "ra 2", jupyter={"outputs_hidden": True}),
        code("nguồn_3", "ra 3", tags=["remove-input"]),
        code("nguồn_4", "ra 4", tags=["remove_cell"]),
        code("#| echo: false\nnguồn_5", "ra 5"),
        code("nguồn_6", "ra 6", tags=["remove-output"]),
    ], "ra 1 nguồn_2 ra 3 ra 5 nguồn_6"),
}
# fmt: on
