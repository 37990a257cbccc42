"""The saved notebook: one full run from top to bottom, built the way its headings promise."""

import ast
import re

import pytest
from conftest import NOTEBOOK, outputs_of, set_up_cells

PARTS = ["Đề bài", "Dự đoán", "Cài đặt", "Kết quả", "Trả lời"]
# What makes a cell's output depend on the profile or on the machine: training, measuring, the data's source.
MEASURES = r"\b(train|train_all|repeat|probe|compare|answer|draw_\w+|figure|fit|Line|record|show|best_\w+|rows)\b"
# The names of Mục 4-8 (ours for two of them: Keras 3 writes accuracy for acc) and what shows that one was run.
NAMES = {
    "l1": "kernel_regularizer='L1(",
    "l2": "kernel_regularizer='L2(",
    "kernel_regularizer": "kernel_regularizer=",
    "bias_regularizer": "bias_regularizer=",
    "Zeros": "kernel_initializer='Zeros()'",
    "Ones": "kernel_initializer='Ones()'",
    "bias_initializer": "bias_initializer='Ones()'",
    "RandomNormal": "kernel_initializer='RandomNormal()'",
    "SGD": "optimizer='SGD(",
    "Momentum": "momentum=0.9",
    "RMSProp": "optimizer='RMSprop(",
    "Adam": "optimizer='Adam(",
    "Adagrad": "optimizer='Adagrad(",
    "CategoricalCrossentropy": "loss='CategoricalCrossentropy()'",
    "SparseCategoricalCrossentropy": "loss='SparseCategoricalCrossentropy()'",
    "MeanSquaredError": "loss='MeanSquaredError()'",
    "MeanAbsoluteError": "loss='MeanAbsoluteError()'",
    "CosineSimilarity": "loss='CosineSimilarity()'",
    "Hinge": "loss='Hinge()'",
    "CategoricalHinge": "loss='CategoricalHinge()'",
    "EarlyStopping": "EarlyStopping(monitor='loss', patience=2)",
    "val_loss": "EarlyStopping(monitor='val_loss'",
    "val_acc": "EarlyStopping(monitor='val_accuracy'",
    "batch size 8": "batch_size=8",
    "100 epoch": "epochs=100",
}


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def exercises(notebook) -> dict[str, list]:
    """Cells of each '## Bài k' section."""
    found, current = {}, None
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (heading := re.match(r"## (.*)", cell.source)):
            current = re.match(r"Bài \d", heading[1])
            current = current and current[0]
        if current:
            found.setdefault(current, []).append(cell)
    return found


def test_one_restart_and_run_all(notebook, record):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1)), "execution counts are not 1..n: save one Restart & Run All"
    assert record["profile"] == "full", "the saved notebook must be a run of the full profile"
    assert not any(data["stand_in"] for data in record["data"].values()), "the saved notebook ran on stand-in data"


def test_no_errors_no_stderr_no_log(notebook):
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            assert output.output_type != "error", f"cell {number} ended in an error"
            assert output.get("name") != "stderr", f"cell {number} wrote to stderr: {output.text[:200]}"
            if output.output_type == "stream":
                assert output.text.count("\n") < 20, f"cell {number} left a wall of text"


def test_size():
    assert NOTEBOOK.stat().st_size < 8 * 2**20, "the notebook weighs more than 8 MiB"


def test_no_path_of_a_machine(notebook):
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|Users|tmp|work)/\w", text), "a path of one machine is in the notebook"


@pytest.mark.parametrize("number", range(1, 8))
def test_exercise_has_its_five_parts(notebook, number):
    cells = exercises(notebook)[f"Bài {number}"]
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert re.findall(r"^### (.*)$", text, re.MULTILINE) == PARTS
    for kind in ("figure", "table", "answer"):
        assert any(outputs_of(cell, kind) for cell in cells), f"Bài {number} shows no {kind}"


def test_definitions_stand_before_the_exercises(notebook):
    later = "\n".join(cell.source for cell in code_cells(notebook)[len(set_up_cells(notebook)) :])
    defined = [n.name for n in ast.walk(ast.parse(later)) if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    assert not defined, f"defined after the set-up: {defined}"


def test_only_what_was_measured_is_exempt_from_nbval(notebook):
    for number, cell in enumerate(code_cells(notebook), start=1):
        if "nbval-ignore-output" in cell.metadata.get("tags", []):
            assert re.search(MEASURES, cell.source), f"code cell {number} is exempt but measures nothing"


def test_every_figure_and_table_is_numbered_captioned_and_described(notebook):
    for kind in ("figure", "table"):
        shown = [o.metadata["bth2"] for cell in notebook.cells for o in outputs_of(cell, kind)]
        if kind == "table":
            shown += [o.metadata["bth2"] for cell in notebook.cells for o in outputs_of(cell, "front")]
        numbers = sorted(about["number"] for about in shown)
        assert numbers == list(range(1, len(numbers) + 1))
        assert all(len(about["caption"]) > 20 for about in shown)
        assert kind == "table" or all(len(about["alt"]) > 20 for about in shown)


def test_no_axis_is_named_in_english(lab):
    english = r"\b(train|test)?(accuracy|loss|value|count|frequency|time|seconds|weights?|predicted|true label)\b"
    for label in lab["LABELS"].values():
        bare = re.sub(r"\(.*?\)", "", label)
        assert not re.search(english, bare), f"axis label {label!r} is English outside its parentheses"


@pytest.mark.parametrize("name", NAMES)
def test_every_technique_of_the_assignment_was_run(notebook, name):
    tables = [o.data["text/markdown"] for cell in notebook.cells for o in outputs_of(cell, "table")]
    experiments = [t for t in tables if "Khác mạng cơ sở ở" in t]
    assert len(experiments) == 1, "the table of experiments is missing"
    assert NAMES[name] in experiments[0], f"{name} of the assignment stands in no experiment"


def test_seconds_and_their_sum_are_shown(notebook, record):
    captions = [o.metadata["bth2"]["caption"] for cell in notebook.cells for o in outputs_of(cell, "table")]
    trainings = {}  # a run of 100 epochs contains that of 30: once counted
    for run in sorted(record["runs"], key=lambda run: run["epochs"]):
        trainings[run["id"].split("-")[0]] = sum(run["history"]["seconds"])
    minutes = f"{len(trainings)} lần huấn luyện là {sum(trainings.values()) / 60:.0f} phút"
    assert any(minutes in caption for caption in captions), f"no caption says that training took {minutes}"
