"""Nothing said that was not measured: the text of the saved notebook against the record it carries."""

import ast
import copy
import re

import nbformat
import pytest
from conftest import ROOT, find_record, outputs_of
from nbclient import NotebookClient
from recompute import problems
from verify import differences

# Settings that the assignment, Keras or the notebook's design names: they may stand in hand-written text.
SETTINGS = [
    r"Bài \d(–\d)?",
    r"Mục \d(–\d)?",
    r"CIFAR-10",
    r"Keras 3",
    r"L[12]\b",
    r"[Ww][₁₂]? = [01]",
    r"b = [01]",
    r"0–255|0–1\b",
    r"(λ|lamda|learning rate|rate|momentum|SGD với|ở|là) ?(=|là)? ?0\.\d+",
    r"0\.9|0\.01|0\.001",
    r"(100|30|10) epoch|epoch (100|30|10)",
    r"batch (size )?(8|128)|8 ảnh|128 ảnh",
    r"`[^`]*`",
    r"1 − 2 · lr · λ",
    r"3072 điểm ảnh",
    r"[Gg]ấp 16",  # 128 / 8, of the assignment's batch sizes
    r"gấp 255",  # the rescaling factor
    r"95 %",
    r"bằng 0|về 0|ra 0|Đầu vào|xa 0|gần 0|trị 0",
    r"lớp 1\b",
    r"10 đầu ra|cho 10 ",
    r"cho 255",
    r"tới 100",
    r"< 0,001",
]


def hand_written(notebook) -> dict[str, str]:
    """Text of results that people wrote: Markdown after Kết quả, and the sentences given to claims."""
    found = {}
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown" and re.match(r"### (Kết quả|Trả lời)", cell.source):
            found[f"Markdown cell {number}"] = cell.source
        if cell.cell_type == "code" and "claim(" in cell.source and "def claim" not in cell.source:
            for call in ast.walk(ast.parse(cell.source)):
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "claim":
                    texts = [call.args[0], *(k.value for k in call.keywords if k.arg in ("no", "because", "otherwise"))]
                    for text in texts:
                        parts = text.values if isinstance(text, ast.JoinedStr) else [text]
                        words = "".join(part.value for part in parts if isinstance(part, ast.Constant))
                        found[f"claim in cell {number}: {words}"] = words
    return found


def typed_numbers(text: str) -> list[str]:
    for setting in SETTINGS:
        text = re.sub(setting, "", text)
    return re.findall(r"\d[\d.,]*", text)


def test_every_number_follows_from_the_record(notebook):
    assert problems(notebook) == []


def test_no_measured_number_is_typed_by_hand(notebook):
    typed = {place: numbers for place, text in hand_written(notebook).items() if (numbers := typed_numbers(text))}
    assert not typed, "numbers in hand-written result text that no cell computed"


def test_a_typed_number_would_be_found():
    assert typed_numbers("Accuracy trên test đạt 97,85 % sau 30 epoch với λ = 0.01") == ["97,85"]


def test_every_exercise_rests_on_claims(record):
    sections = {c["section"] for c in record["claims"]}
    assert {f"Bài {k}" for k in range(1, 8)} <= sections
    assert {f"Mục {k}" for k in range(4, 9)} <= sections


def test_headline_comparisons_have_three_seeds(record):
    runs = {run["id"]: run["experiment"] for run in record["runs"]}
    for section in ("Bài 1", "Bài 2", "Bài 4"):
        for c in record["claims"]:
            if c["section"] == section:
                assert len({runs[key]["seed"] for key in c["a"]["runs"]}) == 3, f"{c['yes']} rests on fewer seeds"


def test_the_verdicts_are_not_all_alike(record):
    """A table of ✓ alone would mean that the predictions were written after the runs."""
    assert len({c["verdict"] for c in record["claims"]}) > 1


# The tests of the tests: what a hostile lecturer would try, in a copy


def test_a_changed_number_in_an_answer_is_found(notebook):
    forged = copy.deepcopy(notebook)
    (answer,) = [o for cell in forged.cells for o in outputs_of(cell, "answer")][1:2]
    text = answer.data["text/markdown"]
    number = re.search(r"\d+,\d+", text)[0]
    answer.data["text/markdown"] = text.replace(number, "12,34", 1)
    assert problems(forged) != []


def test_a_changed_number_in_a_table_is_found(notebook):
    forged = copy.deepcopy(notebook)
    tables = [o for cell in forged.cells for o in outputs_of(cell, "table")]
    table = next(t for t in tables if t.data["text/markdown"].startswith("| Lần chạy | Train"))
    number = re.search(r"\d+,\d+", table.data["text/markdown"].split("\n")[2])[0]
    table.data["text/markdown"] = table.data["text/markdown"].replace(number, "12,34", 1)
    assert any("table" in problem for problem in problems(forged))


@pytest.mark.parametrize("part", ["history", "metrics", "predictions"])
def test_swapped_outputs_of_two_runs_are_found(notebook, part):
    forged = copy.deepcopy(notebook)
    runs = {run["experiment"]["name"]: run for run in find_record(forged)["runs"]}
    a, b = runs["Bài 1"], runs["Bài 2"]
    a[part], b[part] = b[part], a[part]
    assert problems(forged) != []


def test_swapped_tables_are_found(notebook):
    forged = copy.deepcopy(notebook)
    tables = [o for cell in forged.cells for o in outputs_of(cell, "table")]
    table = next(t for t in tables if re.search(r"\| Bài 1 \|.*\n\| Bài 2 \|", t.data["text/markdown"]))
    text = table.data["text/markdown"]
    table.data["text/markdown"] = (
        text.replace("| Bài 1 |", "| @ |").replace("| Bài 2 |", "| Bài 1 |").replace("@", "Bài 2")
    )
    assert any("table" in problem for problem in problems(forged))


def test_verify_sees_what_a_second_run_did_not_reproduce(record):
    assert differences(record, record) == []
    other = copy.deepcopy(record)
    other["runs"][0]["metrics"]["test"]["accuracy"] += 0.006
    other["claims"][0]["verdict"] = "≈"
    del other["runs"][-1]
    assert len(differences(record, other)) == 3


@pytest.mark.slow
def test_a_regularizer_that_does_nothing_turns_its_claim_wrong(notebook):
    """Run Bài 1 and 2 of a copy whose network ignores its regularizers."""
    sabotaged = nbformat.v4.new_notebook(metadata=notebook.metadata)
    for cell in copy.deepcopy(notebook.cells):
        if cell.cell_type == "markdown" and cell.source.startswith("## Bài 3"):
            break
        if cell.cell_type == "code":
            for name in ("kernel", "bias"):
                cell.source = cell.source.replace(
                    f"{name}_regularizer=keras_object(keras.regularizers, e.{name}_regularizer)",
                    f"{name}_regularizer=None",
                )
            sabotaged.cells.append(cell)
    assert sum("_regularizer=None,\n" in cell.source for cell in sabotaged.cells) == 1, "the sabotage found no target"
    NotebookClient(sabotaged, timeout=600, resources={"metadata": {"path": str(ROOT)}}).execute()
    answers = [o.data["text/markdown"] for cell in sabotaged.cells for o in outputs_of(cell, "answer")]
    (norm,) = [line for line in answers[-1].split("\n") if "chuẩn của W₁ giảm" in line]
    assert norm.startswith("- ✗"), norm
