"""The two files a student hands in, with the student's name in both."""

import json
import re
from pathlib import Path

from .files import notebook_bytes, read_notebook, render, write_together
from .freshness import ReportError, find_record, limits

STRING = r"""(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""


def personalize(nb, mssv: str, ho_ten: str, lop: str) -> None:
    """Put the student into the settings cell, which has a line for each value, and the record, in place."""
    cells = [c for c in nb.cells if "settings" in c.metadata.get("tags", [])]
    if len(cells) != 1:
        raise ReportError("Notebook phải có đúng một ô mang thẻ (tag) “settings”.")
    source = cells[0].source
    for name, value in {"MSSV": mssv, "HO_TEN": ho_ten, "LOP": lop}.items():
        literal = json.dumps(value, ensure_ascii=False)  # Python reads such a string the same way
        line_of_code = rf"(?m)^({name}\s*=\s*){STRING}"
        source, count = re.subn(line_of_code, lambda m, literal=literal: m[1] + literal, source)
        if count != 1:
            raise ReportError(f'Ô “settings” của notebook phải có đúng một dòng {name} = "…".')
    cells[0].source = source
    find_record(nb)["settings"].update(mssv=mssv, ho_ten=ho_ten, lop=lop)


def submit(path: Path, mssv: str, ho_ten: str, lop: str, dist: Path = Path("dist")) -> list[Path]:
    """Write ``<MSSV>_<lab>.ipynb`` and ``.pdf`` into ``dist`` and return their paths, or write nothing and say why."""
    if not re.fullmatch(r"[0-9A-Za-z]+", mssv):
        raise ReportError(f"MSSV chỉ gồm chữ số và chữ cái không dấu, không nhận “{mssv}”.")
    for name, value in {"HO_TEN": ho_ten, "LOP": lop}.items():
        if not value.strip() or not value.isprintable():
            raise ReportError(f"{name} không được để trống hay chứa ký tự điều khiển.")
    nb = read_notebook(path)
    record = find_record(nb)
    if record is None:
        raise ReportError(f"{path} chưa có bản ghi của một lần chạy trọn vẹn: hãy chạy notebook.")
    if found := limits(record):
        raise ReportError(f"Chưa thể nộp: {found[0][1].rstrip('.')}; hãy chạy đầy đủ (full) với dữ liệu thật.")
    personalize(nb, mssv, ho_ten.strip(), lop.strip())
    lab = record["settings"].get("lab", "BaiThucHanh2")
    notebook, pdf = (dist / f"{mssv}_{lab}{suffix}" for suffix in (".ipynb", ".pdf"))
    write_together({notebook: notebook_bytes(nb), pdf: render(nb, path)})
    return [notebook, pdf]
