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
