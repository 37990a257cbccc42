"""Small notebooks for the tests of ``report/``: written by nbformat, no kernel needed."""

import base64
import io

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell
from PIL import Image

from report.freshness import bth2, checksum, code_cells, source_hash

SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="300" height="150" viewBox="0 0 300 150">'
    '<path d="M10 140 L100 40 L290 20" fill="none" stroke="#0072b2" stroke-width="3"/></svg>'
)
SETTINGS = 'SEED = 0\nMSSV = "MSSV"  # mã số sinh viên\nHO_TEN = "Họ và tên"\nLOP = "DS201"'
markdown, raw_cell = new_markdown_cell, new_raw_cell


def picture(width: int, height: int, kind: str = "PNG", mode: str = "L") -> bytes:
    """Return the bytes of a grey picture."""
    Image.new(mode, (width, height), 128 if mode == "L" else (128, 128, 128, 0)[: len(mode)]).save(
        written := io.BytesIO(), kind
    )
    return written.getvalue()


def base64_of(content: bytes) -> str:
    """Return what an output holds of a picture."""
    return base64.b64encode(content).decode()


def code(source: str, *outputs, tags=(), **metadata) -> NotebookNode:
    """Return a code cell; its execution count is set by ``notebook``."""
    return new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags), **metadata})


def display(data: dict, metadata=None, **about) -> NotebookNode:
    """Return a displayed output with what the notebook says of it."""
    return new_output("display_data", data, metadata=metadata or ({"bth2": about} if about else {}))


def shown(data: dict, metadata=None, **about) -> NotebookNode:
    """Return a code cell with one displayed output."""
    return code("x", display(data, metadata, **about))


def stream(text: str, name="stdout") -> NotebookNode:
    """Return what a program printed."""
    return new_output("stream", name=name, text=text)


def figure(number: int, caption: str) -> NotebookNode:
    """Return a numbered figure."""
    alt = f"Mô tả hình {number}"
    data = {"image/svg+xml": SVG, "text/plain": alt}
    return display(data, kind="figure", key=f"f{number}", number=number, caption=caption, alt=alt)


def table(number: int, caption: str, text: str, kind="table") -> NotebookNode:
    """Return a numbered table."""
    return display({"text/markdown": text}, kind=kind, key=f"t{number}", number=number, caption=caption)


def text(kind: str, markdown_text: str, key="") -> NotebookNode:
    """Return an answer, an abstract or a caption."""
    return display({"text/markdown": markdown_text}, kind=kind, key=key)


def grid(columns: int, rows: int) -> str:
    """Return a Markdown table; its cell in row r and column c holds 100c + r + 0.25."""
    lines = ["|" + "|".join(f"cột {i}" for i in range(columns)) + "|", "|" + "--:|" * columns]
    lines += ["|" + "|".join(f"{i * 100 + r}.25" for i in range(columns)) + "|" for r in range(rows)]
    return "\n".join(lines) + "\n"


def notebook(*cells, run=True) -> NotebookNode:
    """Return a foreign notebook: no record; code cells numbered in order if ``run``."""
    nb = new_notebook(cells=list(cells))
    nb.metadata["language_info"] = {"name": "python"}
    for i, cell in enumerate(nb.cells):
        cell["id"] = f"cell-{i}"
    if run:
        for i, (_, cell) in enumerate(code_cells(nb), 1):
            cell.execution_count = i
    return nb


def course_notebook(*cells, profile="full", stand_in=False, **settings) -> NotebookNode:
    """Return a notebook as the course's: title, settings cell, ``cells``, record with its seal."""
    title = "# Bài thực hành 2: Các kỹ thuật tối ưu hoá mô hình\n\nĐoạn mở đầu bị bỏ."
    last = code("leave_record()", tags=["record"])
    nb = notebook(markdown(title), code(SETTINGS, tags=["settings"]), *cells, last)
    outputs = [output for cell in nb.cells for output in cell.get("outputs", [])]
    record = {
        "version": 1,
        "settings": {"mssv": "MSSV", "ho_ten": "Họ và tên", "lop": "DS201", "seed": 0, **settings},
        "profile": profile,
        "executed": "2026-11-23",
        "data": {"mnist": {"source": "keras.datasets", "stand_in": stand_in, "note": "không có mạng"}},
        "versions": {"python": "3.11.7", "tensorflow": "2.21.0"},
        "machine": "Linux, 2 nhân",
        "seconds": 1234.5,
        "cells": {str(cell.execution_count): source_hash(cell) for _, cell in code_cells(nb)},
        "shown": [
            [f"{bth2(output)['kind']} {bth2(output).get('key', '')}", checksum(output)]
            for output in outputs
            if bth2(output).get("kind", "progress") != "progress"
        ],
    }
    last.outputs = [display({"text/plain": "Đã ghi."}, kind="record", record=record)]
    return nb
