"""The saved notebook: one full run from top to bottom, built the way its headings promise, and small enough to read."""

import ast
import base64
import io
import itertools
import re
import tokenize
from xml.etree import ElementTree

import pytest
from conftest import NOTEBOOK, outputs_of, set_up_cells
from IPython.utils.capture import capture_output

PARTS = ["Đề bài", "Dự đoán", "Cài đặt", "Kết quả", "Trả lời"]
LINES = {"one cell": 60, "open before Bài 1": 110, "set-up": 610, "notebook": 1170}  # of code, at most
KINDS = ("figure", "table", "front", "answer", "predictions", "abstract", "text")
# What the assignment's Mục 4-8 and Bài 5-6 name: the setting that a run must have had, and its value or Keras class.
NAMES = {
    "l1": ("kernel_regularizer", "L1"),
    "l2": ("kernel_regularizer", "L2"),
    "Zeros": ("kernel_initializer", "Zeros"),
    "Ones": ("kernel_initializer", "Ones"),
    "bias_initializer": ("bias_initializer", "Ones"),
    "RandomNormal": ("kernel_initializer", "RandomNormal"),
    "SGD": ("optimizer", "SGD"),
    "Momentum": ("optimizer", "SGD", {"momentum": 0.9}),
    "RMSProp": ("optimizer", "RMSprop"),
    "Adam": ("optimizer", "Adam"),
    "Adagrad": ("optimizer", "Adagrad"),
    "CategoricalCrossentropy": ("loss", "CategoricalCrossentropy"),
    "SparseCategoricalCrossentropy": ("loss", "SparseCategoricalCrossentropy"),
    "MeanSquaredError": ("loss", "MeanSquaredError"),
    "MeanAbsoluteError": ("loss", "MeanAbsoluteError"),
    "CosineSimilarity": ("loss", "CosineSimilarity"),
    "Hinge": ("loss", "Hinge"),
    "CategoricalHinge": ("loss", "CategoricalHinge"),
    "EarlyStopping, acc": ("name", "Dừng theo accuracy"),
    "EarlyStopping, val_loss": ("name", "Dừng theo val_loss"),
    "EarlyStopping, val_acc": ("name", "Dừng theo val_accuracy"),
    "batch size 8": ("batch_size", 8),
    "100 epoch": ("epochs", 100),
}


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def lines_of_code(source: str) -> int:
    """Lines with code on them: no blank lines, comments or docstrings."""
    found, docstrings = set(), set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node, clean=False):
            docstrings |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in layout:
            found |= set(range(token.start[0], token.end[0] + 1))
    return len(found - docstrings)


def test_lines_of_code(notebook):
    """The table is printed with -s, and where the test fails."""
    set_up, cells = set(set_up_cells(notebook)), code_cells(notebook)
    counts = {
        "one cell": max(lines_of_code(cell.source) for cell in cells),
        "open before Bài 1": sum(
            lines_of_code(cell.source) for cell in cells if cell.source in set_up and not cell.metadata.get("jupyter")
        ),
        "set-up": sum(map(lines_of_code, set_up)),
        "notebook": sum(lines_of_code(cell.source) for cell in cells),
    }
    rows = [f"{name}: {count} lines, at most {LINES[name]}" for name, count in counts.items()]
    print("\n".join(rows))
    assert all(count <= LINES[name] for name, count in counts.items()), "\n".join(rows)


def test_one_restart_and_run_all(notebook, record):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1)), "execution counts are not 1..n: save one Restart & Run All"
    assert record["profile"] == "full", "the saved notebook must be a run of the full profile"
    assert not any(data["stand_in"] for data in record["data"].values()), "the saved notebook ran on stand-in data"


@pytest.mark.parametrize("which", ["notebook", "quick"])
def test_no_errors_no_stderr_no_log(request, which):
    for number, cell in enumerate(request.getfixturevalue(which).cells):
        for output in cell.get("outputs", []):
            assert output.output_type not in ("error", "execute_result"), f"cell {number}: {str(output)[:200]}"
            assert output.get("name") != "stderr", f"cell {number} wrote to stderr: {output.text[:200]}"
            assert output.output_type != "stream" or output.text.count("\n") < 20, f"cell {number}: a wall of text"


def test_size():
    assert NOTEBOOK.stat().st_size < 5 * 2**20, "the notebook weighs more than 5 MiB"


def test_no_path_of_a_machine():
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|Users|tmp|work)/\w", text), "a path of one machine is in the notebook"


def test_what_does_not_teach_is_folded_for_every_reader(notebook):
    """Jupyter and VS Code read jupyter.source_hidden, Colab cellView, the report the tag."""
    for cell in code_cells(notebook):
        hidden = bool({"setup", "hide-input", "record"} & set(cell.metadata.get("tags", [])))
        assert hidden == cell.metadata.get("jupyter", {}).get("source_hidden", False), cell.source[:60]
        assert hidden == (cell.metadata.get("cellView") == "form"), cell.source[:60]


@pytest.mark.parametrize("number", range(1, 8))
def test_exercise_has_its_five_parts(notebook, number):
    cells, inside = [], False
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("## "):
            inside = cell.source.startswith(f"## Bài {number}")
        cells += [cell] * inside
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert re.findall(r"^### (.*)$", text, re.MULTILINE) == PARTS
    for kind in ("figure", "table", "answer", "predictions"):
        assert any(outputs_of(cell, kind) for cell in cells), f"Bài {number} shows no {kind}"


def test_what_two_sections_use_is_defined_before_the_exercises(notebook):
    """A function of one section may stand there, in a cell of its own."""
    section, where, sources = "", {}, {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("## "):
            section = cell.source.split("\n")[0]
        elif cell.cell_type == "code" and cell.source not in set(set_up_cells(notebook)):
            sources[section] = sources.get(section, "") + cell.source + "\n"
            tree = ast.parse(cell.source)
            defined = [n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)]
            where |= dict.fromkeys(defined, section)
            assert not defined or len(defined) == len(tree.body), f"{defined} should have a cell of their own"
    for name, home in where.items():
        users = {section for section, source in sources.items() if re.search(rf"\b{name}\(", source)}
        assert users == {home}, f"{name}, defined in “{home}”, is used in {users}"


def shape(output) -> tuple | None:
    """What must not change between profiles: the kind, and a table's columns."""
    about = output.get("metadata", {}).get("bth2", {})
    if about.get("kind") not in KINDS:
        return None
    columns = None
    if about["kind"] in ("table", "front", "predictions"):
        columns = re.sub(r"\d+", "n", output["data"]["text/markdown"].split("\n")[0])
    return about["kind"], about.get("number"), columns


def test_a_quick_run_shows_what_the_saved_one_shows(notebook, quick):
    """No figure, table, column, answer or table of predictions gets lost."""
    for number, (saved, fresh) in enumerate(zip(notebook.cells, quick.cells, strict=True)):
        a, b = ([s for o in cell.get("outputs", []) if (s := shape(o))] for cell in (saved, fresh))
        assert a == b, f"cell {number} shows {b}, the saved notebook {a}"


def test_every_figure_and_table_is_numbered_in_order_captioned_and_described(notebook):
    for kinds in (["figure"], ["table"]):
        shown = [o.metadata["bth2"] for cell in notebook.cells for kind in kinds for o in outputs_of(cell, kind)]
        start = 1 if kinds == ["figure"] else 2  # Bảng 1 is the summary's, on page 1
        assert [about["number"] for about in shown] == list(range(start, start + len(shown)))
        assert all(len(about["caption"]) > 20 for about in shown)
        assert kinds == ["table"] or all(len(about["alt"]) > 20 for about in shown)


def test_a_figure_is_numbered_and_shown_as_svg_and_png(lab, monkeypatch):
    """The report takes SVG; GitHub, Colab and old viewers show PNG only."""
    monkeypatch.setitem(lab, "counters", {"figure": itertools.count(7), "table": itertools.count(2)})
    monkeypatch.setitem(lab, "RECORD", {"sentences": [], "predictions": [], "printed": {}})
    fig, ax = lab["plt"].subplots()
    ax.plot([0, 1], [0.25, 0.75])
    with capture_output() as captured:
        assert lab["figure"](fig, "Chú thích.", "Mô tả.") == 7
    picture = captured.outputs[0]
    assert base64.b64decode(picture.data["image/png"]).startswith(b"\x89PNG"), "no PNG"
    svg = ElementTree.fromstring(picture.data["image/svg+xml"].encode())
    assert svg.findtext(".//{http://www.w3.org/2000/svg}title") == "Hình 7. Chú thích."
    about = picture.metadata["bth2"]
    assert (about["kind"], about["number"], about["caption"]) == ("figure", 7, "Chú thích.")
    assert "Mô tả." in about["alt"]


def test_curves_show_train_solid_and_dev_dashed_in_per_cent(lab, monkeypatch):
    drawn, e = [], lab["Experiment"]("x")
    monkeypatch.setitem(lab, "figure", lambda fig, *_: drawn.append(fig) or 1)
    runs = [
        lab["Run"](
            e, seed, {"accuracy": [0.5, 0.7 + seed / 10], "val_accuracy": [0.25, 0.5], "loss": [1.0, 1.0]}, {}, []
        )
        for seed in (0, 1)
    ]
    lab["draw_curves"]({"x": lab["Runs"](runs)}, "Chú thích.", panels=("accuracy",))
    (axes,) = drawn[0].axes
    lab["plt"].close(drawn[0])
    found = {line.get_linestyle(): line.get_ydata().tolist() for line in axes.lines}
    assert found["-"] == pytest.approx([50, 75]), "train: solid, the mean of the seeds"
    assert found["--"] == pytest.approx([25, 50]), "dev: dashed"
    assert axes.lines[0].get_xdata().tolist() == [1, 2], "epochs count from 1"


def test_no_axis_is_named_in_english(lab):
    english = r"\b(train|test)?(accuracy|value|count|frequency|time|seconds|weights?|predicted|true label)\b"
    for label in lab["LABELS"].values():
        assert not re.search(english, re.sub(r"\(.*?\)", "", label)), f"axis label {label!r} is English"


def test_a_quick_run_claims_no_epochs_and_seeds_that_it_did_not_train(quick):
    """Six epochs and two seeds: an answer or a caption that says "epoch 100" or "ba seed" is typed, not measured."""
    for number, cell in enumerate(quick.cells):
        for kind in ("answer", "abstract", "figure", "table", "front"):
            for output in outputs_of(cell, kind):
                about = output["metadata"]["bth2"]
                text = about.get("caption", "") + (output["data"].get("text/markdown", "") if kind in ("answer", "abstract") else "")  # fmt: skip
                typed = [n for pair in re.findall(r"epoch (\d+)|(\d+) epoch", text) for n in pair if n and int(n) > 6]
                assert not typed, f"cell {number}, {kind}: epochs {typed} in “{text}”"
                assert not re.search(r"\b(ba|bốn|năm|[3-9]) seed", text), f"cell {number}, {kind}: seeds in “{text}”"


def has(run: dict, field: str, wanted, config=()) -> bool:
    value = {**run, **run["changes"]}.get(field)
    if isinstance(value, dict):  # a Keras object
        return value["class_name"] == wanted and dict(config).items() <= value["config"].items()
    return value == wanted


@pytest.mark.parametrize("name", NAMES)
def test_every_technique_of_the_assignment_was_run(record, name):
    assert any(has(run, *NAMES[name]) for run in record["runs"].values()), f"no run has {NAMES[name]}"


def test_seconds_and_their_sum_are_shown(notebook, record):
    total = sum(sum(history["seconds"]) for history in record["histories"].values())
    captions = [o.metadata["bth2"]["caption"] for cell in notebook.cells for o in outputs_of(cell, "table")]
    text = f"{len(record['histories'])} lần huấn luyện, cộng lại {total / 60:.0f} phút"
    assert any(text in caption for caption in captions), f"no caption says: {text}"
