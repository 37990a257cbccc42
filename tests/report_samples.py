"""Small notebooks for the tests of ``report/``: written by nbformat, no kernel needed."""

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell

from report.freshness import code_cells, source_hash

SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="300" height="150" viewBox="0 0 300 150">'
    '<path d="M10 140 L100 40 L290 20" fill="none" stroke="#0072b2" stroke-width="3"/></svg>'
)


def markdown(text: str, **more) -> NotebookNode:
    """Return a Markdown cell."""
    return new_markdown_cell(text, **more)


def raw_cell(text: str) -> NotebookNode:
    """Return a raw cell."""
    return new_raw_cell(text)


def code(source: str, *outputs, tags=()) -> NotebookNode:
    """Return a code cell; its execution count is set by ``notebook``."""
    return new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags)})


def display(data: dict, **bth2) -> NotebookNode:
    """Return a displayed output with what the notebook says of it."""
    return new_output("display_data", data, metadata={"bth2": bth2} if bth2 else {})


def stream(text: str, name="stdout") -> NotebookNode:
    """Return what a program printed."""
    return new_output("stream", name=name, text=text)


def figure(number: int, caption: str, svg: str = SVG) -> NotebookNode:
    """Return a numbered figure."""
    alt = f"Mô tả hình {number}"
    data = {"image/svg+xml": svg, "text/plain": alt}
    return display(data, kind="figure", number=number, caption=caption, alt=alt)


def table(number: int, caption: str, text: str, kind="table") -> NotebookNode:
    """Return a numbered table."""
    return display({"text/markdown": text}, kind=kind, number=number, caption=caption)


def text(kind: str, markdown_text: str) -> NotebookNode:
    """Return an answer, an abstract or a caption."""
    return display({"text/markdown": markdown_text}, kind=kind)


SETTINGS = 'SEED = 0\nMSSV = "MSSV"  # mã số sinh viên\nHO_TEN = "Họ và tên"\nLOP = "DS201"'


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


def course_notebook(*cells, profile="full", stand_in=False, title=None) -> NotebookNode:
    """Return a notebook as the course's: title, settings cell, ``cells``, record."""
    title = title or "# Bài thực hành 2: Các kỹ thuật tối ưu hoá mô hình\n\nĐoạn mở đầu bị bỏ."
    last = code("leave_record()", tags=["record"])
    nb = notebook(markdown(title), code(SETTINGS, tags=["settings"]), *cells, last)
    hashes = [source_hash(cell) for _, cell in code_cells(nb)]
    record = {
        "version": 1,
        "settings": {"mssv": "MSSV", "ho_ten": "Họ và tên", "lop": "DS201", "seed": 0},
        "profile": profile,
        "executed": "2026-11-23",
        "data": {"mnist": {"source": "keras.datasets", "stand_in": stand_in, "note": "không có mạng"}},
        "versions": {"python": "3.11.7", "tensorflow": "2.21.0"},
        "machine": "Linux, 2 nhân",
        "seconds": 1234.5,
        "cells": hashes,
        "runs": [],
        "claims": [],
    }
    last.outputs = [display({"text/plain": "Đã ghi."}, kind="record", record=record)]
    return nb


def full_notebook(exercises=20, figures=2, tables=3) -> NotebookNode:
    """Return a notebook as long as the real one: ``exercises`` sections, each with everything."""
    cells, figure_number, table_number = [], 0, 1
    front = "| Bài | Lần chạy | Độ chính xác (%) | p |\n|:--|:--|--:|--:|\n" + "".join(
        f"| Bài {i} | `SGD(0.01)` số {i} | {90 + i / 10:.1f} ± 0,3 | {i / 100} |\n" for i in range(1, 9)
    )
    for i in range(1, exercises + 1):
        outputs = []
        for _ in range(figures):
            figure_number += 1
            outputs.append(figure(figure_number, f"Đồ thị học của bài {i}: `loss` giảm dần, *dev* ổn định."))
        for _ in range(tables):
            table_number += 1
            rows = "".join(f"| Lần {k} | {k * 1.5:.2f} | {k * 1000} |\n" for k in range(1, 7))
            head = "| Lần chạy | Cross-entropy | Số bước |\n|:--|--:|--:|\n"
            outputs.append(table(table_number, f"Số đo của bài {i}.", head + rows))
        answer = (
            f"**Mô hình ở bài {i} đạt {90 + i},5 %.** Xem Hình {figure_number} và Bảng "
            f"{table_number}; với $\\lambda = 0.01$ thì $\\|W\\|_2$ nhỏ đi.\n\n"
            "- ✓ Chuẩn của W giảm từ 12,3 xuống 0,4.\n- ✗ Độ chính xác không tăng: "
            "khoảng tin cậy 95 % của hai lần chạy không chồng lên nhau nên đây không phải nhiễu.\n"
            "- ≈ Hai lần chạy gần bằng nhau."
        )
        cells += [
            markdown(f"## Bài {i} – Huấn luyện với kỹ thuật số {i}"),
            markdown(f"### Đề bài\n\n> **Bài {i}**: Thực hiện huấn luyện mô hình mạng neural."),
            markdown("### Dự đoán\n\nMô hình sẽ hội tụ chậm hơn. Hàm mất mát sẽ lớn hơn."),
            markdown("### Cài đặt"),
            code(f'bai{i} = train(replace(bai1, name="Bài {i}", kernel_regularizer="l2(0.01)"))'),
            markdown("### Kết quả"),
            code("draw_curves(bai1)", *outputs),
            markdown("### Trả lời"),
            code("answer()", text("answer", answer)),
        ]
    summary = "Báo cáo so sánh các kỹ thuật. " * 12
    return course_notebook(
        code("def f(): pass", tags=["setup"]),
        *cells,
        markdown("## Tổng kết"),
        code("summary()", table(1, "Mọi lần chạy.", front, kind="front")),
        code("abstract()", text("abstract", summary)),
    )
