"""Small notebooks for the tests of ``report/``: written by nbformat, no kernel needed."""

import base64
import io

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

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
