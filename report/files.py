"""Reading notebooks, rendering them, and writing files whole or not at all."""

import json
import os
import re
import sys
import warnings
from pathlib import Path

import nbformat
from nbformat.validator import iter_validate, normalize

from .exporter import TypstPDFExporter
from .freshness import ReportError, staleness


def fault(nb: dict) -> str | None:
    """Say which cell of a notebook in format 4 is the first that lacks something, as Jupyter's own check finds it."""
    minor = nb.get("nbformat_minor", 5)
    for cell in nb.get("cells", ()) if minor >= 5 else ():
        if isinstance(cell, dict):
            cell.setdefault("id", "x")  # nbformat mends ids, but finds one fault in a cell
    for error in iter_validate(nb, version=4, version_minor=minor, relax_add_props=True):
        path, key = [*error.absolute_path, *[""] * 5], re.match(r"'(\w+)' is a required", error.message)
        if "metadata" in (path[0], path[2]):
            continue  # which nbformat strips
        place = f"ô {path[1] + 1}" if path[0] == "cells" and path[1] != "" else "notebook"
        place += f", output {path[3] + 1}," if path[2] == "outputs" and path[3] != "" else ""
        return f"{place} {f'thiếu khoá “{key[1]}”' if key else f'sai định dạng ({error.message[:100]})'}"
    return None


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """Return the notebook in a file, as leniently as Jupyter; raises ReportError when there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old notebooks have no cell ids
            nb = json.loads(text := path.read_text(encoding="utf-8-sig"))
            what = fault(nb if nb["nbformat"] == 4 else nbformat.reads(text, as_version=4))
            if what is None:
                nb = nbformat.reads(text, as_version=4)
                nb = normalize(nb, relax_add_props=True, strip_invalid_metadata=True)[1]
                what = fault(nb)
            if what is None:
                return nb
    except FileNotFoundError:
        raise ReportError(f"Không tìm thấy notebook {path}.") from None
    except (OSError, ValueError, TypeError, LookupError, AttributeError, nbformat.ValidationError) as error:
        what = f"không phải tệp notebook ({str(error).strip()[:100]})"
    raise ReportError(f"Không đọc được {path}: {what}. Hãy tạo lại phần ấy trong Jupyter rồi lưu, hoặc sửa tệp.")


def render(nb: nbformat.NotebookNode, path: Path, allow_stale: bool = False) -> bytes:
    """Return the PDF of a notebook that stands at ``path``; raises ReportError when it is stale."""
    if not allow_stale and (stale := staleness(nb)):
        raise ReportError(f"Chưa xuất vì {stale}: hãy chạy lại toàn bộ notebook (Restart & Run All) rồi lưu.")
    resources = {"metadata": {"name": path.stem, "path": str(path.parent)}}
    pdf, done = TypstPDFExporter().from_notebook_node(nb, resources)
    for note in done["notes"]:
        print(note, file=sys.stderr)
    return pdf


def write_together(contents: dict[Path, bytes]) -> None:
    """Write files by renaming finished ones, so that no reader ever meets half of one."""
    partial = {path.with_name(f".{path.name}.part"): path for path in contents}
    try:
        for part, path in partial.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(contents[path])
        for part, path in partial.items():
            os.replace(part, path)
    except OSError as error:
        raise ReportError(f"Không ghi được tệp: {error}.") from error
    finally:
        for part in partial:
            part.unlink(missing_ok=True)


def notebook_bytes(nb: nbformat.NotebookNode) -> bytes:
    """Return a notebook as the bytes of its file."""
    return (nbformat.writes(nb).rstrip("\n") + "\n").encode()
