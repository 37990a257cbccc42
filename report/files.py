"""Reading notebooks, rendering them, and writing files whole or not at all."""

import os
import sys
import warnings
from pathlib import Path

import nbformat

from .exporter import TypstPDFExporter
from .freshness import ReportError, staleness


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """Return the notebook in a file, as leniently as Jupyter; raises ReportError when there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old notebooks have no cell ids
            nb = nbformat.reads(path.read_text(encoding="utf-8-sig"), as_version=4)
            nbformat.validate(nb, relax_add_props=True)
        return nb
    except FileNotFoundError:
        raise ReportError(f"Không tìm thấy notebook {path}.") from None
    except (OSError, ValueError, TypeError, AttributeError, nbformat.ValidationError) as error:
        reason = str(error).strip().split("\n")[0][:150]
        raise ReportError(f"Không đọc được {path}: không phải notebook hợp lệ ({reason}).") from error


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
