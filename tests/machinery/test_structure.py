"""The saved notebook: one full run from top to bottom, folded where it does not teach, and small enough to read."""

import ast
import io
import os
import re
import tokenize
from datetime import datetime, timedelta

import pytest
from conftest import NOTEBOOK, find_record, outputs, set_up_cells

WIDEST, LARGEST, SET_UP = 120, 60, 805


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def lines_of(source: str) -> tuple[int, int]:
    """Lines of code without blank lines, comments and docstrings, and how many of them are prose (strings alone)."""
    found, docstrings, strings = set(), set(), set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node, clean=False):
            docstrings |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            strings |= set(range(node.lineno, node.end_lineno + 1)) if " " in ast.unparse(node) else set()
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in layout:
            found |= set(range(token.start[0], token.end[0] + 1))
    lines = source.split("\n")
    prose = {n for n in strings & found - docstrings if re.match(r"""\s*(f?["']|\+ )""", lines[n - 1])}
    return len(found - docstrings), len(prose)


def test_lines(notebook):
    """The table is printed with -s, and where the test fails."""
    set_up = set(set_up_cells(notebook))
    counts = [(cell.source in set_up, *lines_of(cell.source), cell) for cell in code_cells(notebook)]
    table = {
        "set-up, code": sum(code - prose for first, code, prose, _ in counts if first),
        "open before Bài 1": sum(code for first, code, _, c in counts if first and not c.metadata.get("jupyter")),
        "sections, code": sum(code - prose for first, code, prose, _ in counts if not first),
        "sections, prose": sum(prose for first, _, prose, _ in counts if not first),
        "largest cell": max(code for _, code, _, _ in counts),
        "widest line": max(len(line) for cell in notebook.cells for line in cell.source.split("\n")),
    }
    text = "\n".join(f"{name}: {count}" for name, count in table.items())
    print(text)
    assert table["widest line"] <= WIDEST, text
    assert table["largest cell"] <= LARGEST, text
    assert table["set-up, code"] <= SET_UP, text


def test_one_restart_and_run_all(notebook, record):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1)), "execution counts are not 1..n: save one Restart & Run All"
    assert record["profile"] == "full", "the saved notebook must be a run of the full profile"
    assert not any(data["stand_in"] for data in record["data"].values()), "the saved notebook ran on stand-in data"


def test_small_and_of_no_machine():
    assert NOTEBOOK.stat().st_size < 5 * 2**20, "the notebook weighs more than 5 MiB"
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|Users|tmp|work)/\w", text), "a path of one machine is in the notebook"


def test_what_does_not_teach_is_folded_for_every_reader(notebook):
    """Jupyter and VS Code read jupyter.source_hidden, Colab cellView, the report the tag; folded, a title is left."""
    for cell in code_cells(notebook):
        hidden = bool({"setup", "hide-input", "record"} & set(cell.metadata.get("tags", [])))
        assert hidden == cell.metadata.get("jupyter", {}).get("source_hidden", False), cell.source[:60]
        assert hidden == (cell.metadata.get("cellView") == "form"), cell.source[:60]
        assert hidden == cell.source.startswith("# @title "), cell.source[:60]


def test_the_outline_names_each_thing_once(notebook):
    headings = [
        line for c in notebook.cells if c.cell_type == "markdown" for line in re.findall(r"(?m)^#.*$", c.source)
    ]
    assert len(set(headings)) == len(headings), "a heading comes twice"


def shape(output) -> tuple | None:
    """What must not change between profiles: the kind, its key, and a table's columns."""
    about = output.get("metadata", {}).get("bth2", {})
    if about.get("kind") in (None, "progress"):
        return None
    text = output.get("data", {}).get("text/markdown", "") if about["kind"] in ("table", "front", "verdicts") else ""
    return about["kind"], about["key"], re.sub(r"\d+", "n", text.split("\n")[0])


def test_a_quick_run_shows_what_the_saved_one_shows(notebook, quick):
    """No figure, table, column, answer or table of expectations gets lost."""
    for number, (saved, fresh) in enumerate(zip(notebook.cells, quick.cells, strict=True)):
        a, b = ([s for o in cell.get("outputs", []) if (s := shape(o))] for cell in (saved, fresh))
        assert a == b, f"cell {number} shows {b}, the saved notebook {a}"


def test_a_quick_run_speaks_of_its_own_epochs(quick):
    """Ten, thirty and a hundred epochs are those of the full profile."""
    for kind in ("answer", "caption", "abstract"):
        for output in outputs(quick, kind):
            text = output.data["text/markdown"]
            assert not re.search(r"\b(?:10|30|100) epoch|epoch (?:10|30|100)\b|ba seed|năm seed", text), text


def test_a_quick_run_is_dated_today_and_names_its_machine(quick):
    assert find_record(quick)["machine"].endswith(f", {os.cpu_count()} nhân CPU")
    days = [(datetime.now() - timedelta(days=days)).strftime("%Y-%m-%d") for days in (0, 1)]  # midnight may pass
    assert find_record(quick)["executed"] in days


def test_the_record_names_what_it_was_made_with(notebook):
    record = find_record(notebook)
    assert record["settings"]["lab"] in NOTEBOOK.name
    assert {"python", "keras", "tensorflow", "numpy"} <= set(record["versions"])
    whole = sum(sum(history["seconds"]) for history in record["histories"].values())
    assert record["seconds"] == pytest.approx(whole, rel=1e-3)
