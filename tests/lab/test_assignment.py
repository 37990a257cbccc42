"""What this assignment asks, from its sentences to the runs, the parts and the words of the saved notebook."""

import ast
import re

import pytest
from conftest import outputs, outputs_of

# The settings of Mục 3, and what a Keras object's configuration must hold.
MUC3 = {
    "dataset": "mnist",
    "rescaling": None,
    "hidden": [784],
    "kernel_initializer": ("GlorotUniform", {}),
    "first_kernel_initializer": None,
    "bias_initializer": ("Zeros", {}),
    "kernel_regularizer": None,
    "bias_regularizer": None,
    "activation": "sigmoid",
    "loss": ("BinaryCrossentropy", {}),
    "optimizer": ("SGD", {"learning_rate": 0.01, "momentum": 0.0, "weight_decay": None}),
    "batch_size": 128,
}
L2 = {"kernel_regularizer": ("L2", {"l2": 0.01}), "bias_regularizer": ("L2", {"l2": 0.01})}
L1 = {"kernel_regularizer": ("L1", {"l1": 0.01}), "bias_regularizer": ("L1", {"l1": 0.01})}
CIFAR = {"dataset": "cifar10"}


def optimizer(name: str, **config) -> dict:
    return {"optimizer": (name, config)}


# The sentence or name of the assignment: the experiment, its epochs, seeds at least, and all that differs from Mục 3.
ASKED = {
    "Bài 1: huấn luyện mô hình mạng neural ở Mục 3 trên bộ dữ liệu MNIST": ("Bài 1", 30, 5, {}),
    "Bài 2: regularization cho tham số W và b với lamda là 0.01": ("Bài 2", 30, 5, L2),
    "Bài 3: khởi tạo tham số là 1 cho tham số W": ("W = 1", 30, 3, {"kernel_initializer": ("Ones", {})}),
    "Mục 5: khởi tạo số 0": ("W = 0", 30, 3, {"kernel_initializer": ("Zeros", {})}),
    "Mục 5: phân phối chuẩn": ("RandomNormal", 30, 3, {"kernel_initializer": ("RandomNormal", {"stddev": 0.05})}),
    "Mục 5: bias_initializer": ("b = 1", 10, 3, {"bias_initializer": ("Ones", {})}),
    "Bài 4: bài 2 với optimizer RMSProp": ("RMSProp, L2", 30, 5, L2 | optimizer("RMSprop", learning_rate=0.001)),
    "Bài 4: bài 2 với optimizer Adam": ("Adam, L2", 30, 5, L2 | optimizer("Adam", learning_rate=0.001)),
    "Bài 5: giảm batch size xuống 8, ở bài 2": ("Bài 5", 30, 5, L2 | {"batch_size": 8}),
    "Bài 6: tăng epoch lên 100": ("Bài 6", 100, 5, {}),
    "Bài 7: Bài 1 với CIFAR10": ("CIFAR Bài 1, 0–255", 30, 3, CIFAR),
    "Bài 7: Bài 2 với CIFAR10": ("CIFAR Bài 2, 0–255", 30, 1, CIFAR | L2),
    "Bài 7: Bài 6 với CIFAR10": ("CIFAR Bài 6, 0–255", 100, 1, CIFAR),
    "Mục 4: l1": ("L1", 10, 3, L1),
    "Mục 4: l2": ("L2", 10, 3, L2),
    "Mục 6: SGD": ("SGD, 0,01", 10, 3, {}),
    "Mục 6: Momentum với giá trị là 0.9": ("Momentum, 0,01", 10, 3, optimizer("SGD", learning_rate=0.01, momentum=0.9)),
    "Mục 6: RMSProp": ("RMSProp, 0,001", 10, 3, optimizer("RMSprop", learning_rate=0.001)),
    "Mục 6: Adam": ("Adam, 0,001", 10, 3, optimizer("Adam", learning_rate=0.001)),
    "Mục 6: Adagrad": ("Adagrad, 0,001", 10, 3, optimizer("Adagrad", learning_rate=0.001)),
}
OUTPUT_OF = {"BinaryCrossentropy": "sigmoid", "CategoricalCrossentropy": "softmax"}
OUTPUT_OF |= {"SparseCategoricalCrossentropy": "softmax"}
LINEAR = ["MeanSquaredError", "MeanAbsoluteError", "CosineSimilarity", "Hinge", "CategoricalHinge"]
OUTPUT_OF |= dict.fromkeys(LINEAR, "linear")
ASKED |= {
    f"Mục 7: {name}": (name, 10, 1, {"loss": (name, {}), "activation": output}) for name, output in OUTPUT_OF.items()
}


def matches(value, wanted) -> bool:
    """Whether a setting of the record is a value, or a Keras object of a class with this in its configuration."""
    if not isinstance(wanted, tuple):
        return value == wanted
    name, config = wanted
    return value["class_name"] == name and all(
        value["config"].get(key) == (item if item is None else pytest.approx(item, rel=1e-6))
        for key, item in config.items()
    )


def runs_named(record: dict, tables, name: str) -> list[dict]:
    """The runs under a name: of the record, or of a row of the list of all experiments."""
    rows = {}
    for table in tables:
        about = table.metadata["bth2"]
        if about["key"] == "all":
            lines = table.data["text/markdown"].split("\n")[2:]
            rows = {line.split("|")[1].strip(): ids for line, ids in zip(lines, about["ids"], strict=True)}
    return [record["runs"][key] for key in rows.get(name, [])]


@pytest.mark.parametrize("sentence", ASKED)
def test_each_run_that_the_assignment_names_has_exactly_its_settings(notebook, record, sentence):
    name, epochs, seeds, changes = ASKED[sentence]
    runs = runs_named(record, outputs(notebook, "table"), name)
    assert len(runs) >= seeds, f"“{name}” has {len(runs)} seeds, {seeds} are needed"
    assert [run["seed"] for run in runs] == list(range(len(runs)))
    for run in runs:
        ended = run["metrics"]["train"]["loss"] is None  # a loss that grew without bound ends its run
        assert run["epochs"] == epochs or ended, f"{name}: {run['epochs']} epochs, {epochs} are asked"
        for setting, wanted in (MUC3 | changes).items():
            found = run["settings"][setting]
            assert matches(found, wanted), f"{name}: {setting} is {found}, {wanted} is asked"


def test_the_images_are_all_there(record):
    assert record["sizes"]["mnist"] == {"train": 54_000, "dev": 6_000, "test": 10_000}
    assert record["sizes"]["cifar10"] == {"train": 45_000, "dev": 5_000, "test": 10_000}
    assert record["profile"] == "full"


def test_early_stopping_by_each_monitor_of_the_assignment(notebook):
    (table,) = [o for o in outputs(notebook, "table") if o.metadata["bth2"]["key"] == "stopping"]
    rows = [line.split("|")[1].strip() for line in table.data["text/markdown"].split("\n")[2:]]
    assert rows[:4] == ["loss", "accuracy", "val_loss", "val_accuracy"]
    source = "\n".join(cell.source for cell in notebook.cells)
    assert 'EarlyStopping(monitor="loss", patience=2)' in source, "the assignment's own line is run"


def sections(notebook) -> dict[str, list]:
    """The cells below each heading of level two."""
    found, name = {}, ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("## "):
            name = cell.source.split("\n")[0].removeprefix("## ")
        found.setdefault(name, []).append(cell)
    return found


PARTS = ["Đề bài", "Lý thuyết", "Cài đặt", "Kết quả", "Trả lời"]


@pytest.mark.parametrize("number", range(1, 8))
def test_an_exercise_has_its_parts_and_an_answer_that_can_be_read(notebook, record, number):
    (name,) = [name for name in sections(notebook) if name.startswith(f"Bài {number} ")]
    cells = sections(notebook)[name]
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert re.findall(r"(?m)^\*\*(.*?)\.\*\*", text) == PARTS
    (answer,) = [o.data["text/markdown"] for cell in cells for o in outputs_of(cell, "answer")]
    (call,) = [
        node
        for cell in cells
        if cell.cell_type == "code"
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "answer"
    ]
    assert call.args[0].value == name, "the answer belongs to another heading"
    assert 3 <= len(call.args) - 1 <= 5, f"{len(call.args) - 1} sentences"
    calls = [call["text"] for call in record["texts"][f"answer {name}"]["said"] if call["call"] != "when"]
    numbers = [number for text in calls for number in re.findall(r"\d[\d\u202f]*(?:,\d+)?", text)]
    assert len(numbers) <= 12, f"{len(numbers)} measured numbers: {numbers}"
    cited = set(re.findall(r"(?:Hình|Bảng) \d+", answer))
    here = {
        f"{word} {o.metadata['bth2']['number']}"
        for cell in cells
        for kind, word in (("figure", "Hình"), ("table", "Bảng"))
        for o in outputs_of(cell, kind)
    }
    assert cited and cited <= here, f"{cited - here} stands in another section"
    assert here <= cited, f"{here - cited} is shown and never cited"


FORBIDDEN = ["không phạt", "đơn vị chết", "độ chính xác (%)", "xe tải thành", "chữ số 1 thành", "Viết trước khi chạy"]


def test_one_thing_has_one_name(notebook):
    for cell in notebook.cells:
        for word in FORBIDDEN:
            assert word not in cell.source, f"“{word}” in: {cell.source[:80]}"


def test_a_cause_stands_under_a_condition(record):
    """ "Vì", "nhờ" and "nguyên nhân" are claims: they are said by `when`, never by the sentence around it."""
    for key, about in record["texts"].items():
        rest = about["text"]
        for call in about["said"]:
            if call["call"] == "when":
                rest = rest.replace(call["text"], "", 1)
        found = re.findall(r"\b(?:(?<!thay )vì|nhờ|nguyên nhân|do đó)\b", rest, re.IGNORECASE)
        assert not found, f"{key} gives a cause without a condition: {found}"


def test_every_comparison_changes_one_factor(record):
    said = [call for about in record["texts"].values() for call in about["said"]]
    claims = [claim for call in said for claim in call["claims"]]
    claims += [verdict["claim"] for verdicts in record["verdicts"].values() for verdict in verdicts]
    assert len(claims) > 50
    for claim in claims:
        assert claim["factors"] == [], f"{claim['a']['key']} of two experiments that differ in {claim['factors']}"


def test_the_verdicts_are_not_all_alike(record):
    assert len({verdict["mark"] for verdicts in record["verdicts"].values() for verdict in verdicts}) > 1


def test_the_time_left_knows_the_whole_work(notebook, record):
    """WHOLE_WORK, by which the notebook says how long it will take, is the work of its own experiments."""
    sizes = {name: (parts["train"], {"mnist": 784, "cifar10": 3072}[name]) for name, parts in record["sizes"].items()}
    source = "WHOLE_WORK = "
    lines = [line for cell in notebook.cells for line in cell.source.split("\n")]
    line = next(line for line in lines if line.startswith(source))
    told = ast.literal_eval(re.search(r"\{.*?\}", line)[0])
    for seeds, work in told.items():
        longest = {}
        for key, run in record["runs"].items():
            if run["seed"] < seeds:
                longest[key.split("-")[0]] = max((run["epochs"], key), longest.get(key.split("-")[0], (0, "")))
        found = 0
        for epochs, key in longest.values():
            run = record["runs"][key]
            images, pixels = sizes[run["dataset"]]
            size = run["settings"]["batch_size"]
            found += (
                epochs * -(-images // size) * (9.4e6 + size * 784 * (pixels + 10)) / (422 * (9.4e6 + 128 * 784 * 794))
            )
        assert work == pytest.approx(found, rel=0.03), f"{seeds} seeds: {work}, the experiments need {found:.0f}"
