"""Settings of every test: the quick profile, no cache, and one place to read the notebook.

machinery/ holds for any lab that is written with this notebook's set-up; lab/ is this assignment.

nbval executes the notebook once, in the quick profile; the checks of the saved notebook run on what it got, too.
"""

import ast
import copy
import json
import os
from pathlib import Path

os.environ["BTH2_PROFILE"] = "quick"
os.environ["BTH2_CACHE_DIR"] = ""  # a test never trusts, nor feeds, a student's cache

os.environ["BTH2_SEEDS"] = "1"  # of the notebook that nbval trains; the other tests have two or three
os.environ.pop("BTH2_WORKERS", None)

import kernel_watch  # noqa: F401 - a killed kernel ends nbval within seconds
import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "MSSV_BaiThucHanh2.ipynb"


def pytest_collection_modifyitems(items):
    """nbval's cells come first: other tests read what they gave. Its own comparison is of no use in another profile."""
    items.sort(key=lambda item: type(item).__name__ != "IPyNbCell")
    for item in items:
        if type(item).__name__ == "IPyNbCell":
            item.options["check"] = False


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Side by side, a process takes file after file; tests that read nbval's run go with the notebook."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return NOTEBOOK.name if "quick_run" in nodeid or "quick]" in nodeid else nodeid.split("::")[0]

    return ByFile(config, log)


@pytest.fixture(scope="session")
def quick(notebook, request) -> nbformat.NotebookNode:
    """The notebook as nbval has just executed it in the quick profile."""
    ran = [item.test_outputs for item in request.session.items if type(item).__name__ == "IPyNbCell"]
    if not ran:
        pytest.skip("the notebook was not executed: pytest --nbval")
    fresh = copy.deepcopy(notebook)
    cells = [cell for cell in fresh.cells if cell.cell_type == "code"]
    assert None not in ran and len(ran) == len(cells), f"nbval did not run all of {len(cells)} cells in this process"
    for number, (cell, outputs) in enumerate(zip(cells, ran, strict=True), start=1):
        cell.outputs, cell.execution_count = nbformat.from_dict(outputs), number
    places = {}  # an output that a later cell updates is shown where it first stood
    for cell in cells:
        for output in list(cell.outputs):
            about = output.get("metadata", {}).get("bth2", {})
            name = f"{about.get('kind')} {about.get('key')}"
            if about and name in places:
                places[name].update(output)
                cell.outputs.remove(output)
            places.setdefault(name, output)
    return fresh


@pytest.fixture(scope="session")
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="session")
def record(notebook) -> dict:
    """The record that the last cell of the committed notebook carries."""
    return find_record(notebook)


def outputs_of(cell, kind: str) -> list:
    """Outputs of a cell that the notebook marked as figure, table, answer…"""
    return [o for o in cell.get("outputs", []) if o.get("metadata", {}).get("bth2", {}).get("kind") == kind]


def outputs(notebook, kind: str) -> list:
    """All outputs of a kind, in the order of the notebook."""
    return [output for cell in notebook.cells for output in outputs_of(cell, kind)]


def find_record(notebook) -> dict:
    """The record of a notebook, its texts of numbers unpacked in place."""
    found = outputs(notebook, "record")
    assert len(found) == 1, f"the notebook should hold one record, it holds {len(found)}"
    record = found[0].metadata["bth2"]["record"]
    for name in ("histories", "drawn"):
        if isinstance(record[name], str):
            record[name] = nbformat.from_dict(json.loads(record[name]))
    return record


def set_up_cells(notebook) -> list[str]:
    """Sources of the code cells before Bài 1."""
    sources = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("## Bài 1"):
            return sources
        if cell.cell_type == "code":
            sources.append(cell.source)
    raise AssertionError("the notebook has no heading '## Bài 1'")


def later_definitions(notebook) -> list[str]:
    """The functions and quantities that the cells after the set-up define, each in the section that uses it."""

    def defines(node) -> bool:
        called = getattr(getattr(node, "value", None), "func", None)
        return isinstance(node, ast.FunctionDef) or getattr(called, "id", "") == "Quantity"

    set_up = set(set_up_cells(notebook))
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code" and cell.source not in set_up]
    return [ast.unparse(node) for source in sources for node in ast.parse(source).body if defines(node)]


@pytest.fixture(scope="session")
def lab(notebook):
    """The names that the set-up and the later definitions give, in this process."""
    shell = InteractiveShell.instance()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BTH2_SEEDS", "2")
        for source in [*set_up_cells(notebook), *later_definitions(notebook)]:
            shell.run_cell(source, store_history=False).raise_error()
    return shell.user_ns
