"""A run of the notebook without a browser, its progress on one line of the terminal."""

import os
import shutil
import sys
import time
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from .files import notebook_bytes, read_notebook, render, write_together
from .freshness import ReportError, bth2


class ProgressLine:
    """One line: rewritten in place on a terminal, printed anew every ``interval`` s elsewhere."""

    def __init__(self, out=sys.stderr, interval: float = 10.0):
        self.out, self.interval = out, interval
        self.shown, self.last = "", float("-inf")

    def show(self, text: str) -> None:
        """Show a text in place of the last one."""
        text = " ".join(text.split())
        terminal = self.out.isatty()
        if text == self.shown or (not terminal and time.monotonic() - self.last < self.interval):
            return
        self.shown, self.last = text, time.monotonic()
        width = shutil.get_terminal_size().columns - 1
        self.out.write("\r\x1b[K" + text[:width] if terminal else text + "\n")
        self.out.flush()

    def close(self) -> None:
        """Leave the terminal at the start of an empty line."""
        if self.out.isatty() and self.shown:
            self.out.write("\r\x1b[K")
            self.out.flush()


class ProgressClient(NotebookClient):
    """A client that shows the number of the cell and what the notebook says of its progress."""

    def __init__(self, nb, line: ProgressLine, **kw):
        super().__init__(nb, on_cell_execute=self._started, **kw)
        self.line, self.place = line, ""

    def _started(self, cell, cell_index):
        self.place = f"Ô {cell_index + 1}/{len(self.nb.cells)}"
        self.line.show(self.place)

    def process_message(self, msg, cell, cell_index):
        """Pass a kernel's message on, and show it if it is one about progress."""
        content = msg["content"]
        if bth2(content).get("kind") == "progress":
            self.line.show(f"{self.place}: {content['data'].get('text/plain', '')}")
        return super().process_message(msg, cell, cell_index)


def kernel_of(nb) -> str:
    """Return the name of the notebook's kernel, or of this machine's Python where that is not there."""
    spec, here = nb.metadata.get("kernelspec", {}), KernelSpecManager().find_kernel_specs()
    language = spec.get("language") or nb.metadata.get("language_info", {}).get("name", "python")
    name = spec.get("name", language)
    if name not in here and language.lower() == "python":
        name = "python3"
    if name not in here:
        raise ReportError(
            f"Máy này không có kernel “{name}” mà notebook cần; chỉ có: {', '.join(sorted(here)) or '–'}."
        )
    return name


def run(path: Path, output_dir: Path, profile: str, cwd: Path = Path(), seeds: int | None = None) -> list[Path]:
    """Execute a notebook from the top; write the executed copy and its PDF, return their paths.

    What a failing or interrupted run has reached is written as ``<name>-dang-do.ipynb``.
    """
    nb = read_notebook(path)
    copy, unfinished = output_dir / path.name, output_dir / f"{path.stem}-dang-do.ipynb"
    if copy.resolve() == path.resolve():
        raise ReportError(f"Bản chạy sẽ đè lên chính {path}: hãy chọn thư mục khác.")
    line = ProgressLine()
    client = ProgressClient(
        nb,
        line,
        timeout=None,
        shutdown_kernel="immediate",
        kernel_name=kernel_of(nb),
        resources={"metadata": {"path": str(cwd)}},
    )
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    try:
        # Cell by cell, because ``execute`` takes Ctrl-C for a kernel that died.
        seeds_wanted = {"BTH2_SEEDS": str(seeds)} if seeds else {}
        with client.setup_kernel(env={**os.environ, "BTH2_PROFILE": profile, **seeds_wanted}):
            for i, cell in enumerate(nb.cells):
                client.execute_cell(cell, i)
    except BaseException as error:
        write_together({unfinished: notebook_bytes(nb)})
        if isinstance(error, CellExecutionError):
            message = " ".join(f"{error.ename}: {error.evalue}".split())
            raise ReportError(f"{client.place} dừng vì lỗi {message} (xem {unfinished}).") from None
        if isinstance(error, DeadKernelError):
            raise ReportError(f"Kernel đã chết ở {client.place} (xem {unfinished}).") from None
        raise
    finally:
        line.close()
    unfinished.unlink(missing_ok=True)
    write_together({copy: notebook_bytes(nb)})
    pdf = copy.with_suffix(".pdf")
    write_together({pdf: render(nb, copy)})
    return [copy, pdf]
