"""What this assignment asks, from its sentences to the runs, the parts and the words of the saved notebook."""

import ast
import re

import keras
import pytest
from conftest import find_record, outputs, outputs_of
from recompute import rows_of

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
    "Bài 1: huấn luyện mô hình mạng neural ở Mục 3 trên bộ dữ liệu MNIST": ("Bài 1", 30, 3, {}),
    "Bài 2: regularization cho tham số W và b với lamda là 0.01": ("Bài 2", 30, 3, L2),
    "Bài 3: khởi tạo tham số là 1 cho tham số W": ("W = 1", 30, 3, {"kernel_initializer": ("Ones", {})}),
    "Mục 5: khởi tạo số 0": ("W = 0", 30, 3, {"kernel_initializer": ("Zeros", {})}),
    "Mục 5: phân phối chuẩn": ("RandomNormal", 30, 3, {"kernel_initializer": ("RandomNormal", {"stddev": 0.05})}),
    "Mục 5: bias_initializer": ("b = 1", 10, 3, {"bias_initializer": ("Ones", {})}),
    "Bài 4: bài 2 với optimizer RMSProp": ("RMSProp, L2", 30, 3, L2 | optimizer("RMSprop", learning_rate=0.001)),
    "Bài 4: bài 2 với optimizer Adam": ("Adam, L2", 30, 3, L2 | optimizer("Adam", learning_rate=0.001)),
    "Bài 5: giảm batch size xuống 8, ở bài 2": ("Bài 5", 30, 3, L2 | {"batch_size": 8}),
    "Bài 6: tăng epoch lên 100": ("Bài 6", 100, 3, {}),
    "Bài 7: Bài 1 với CIFAR10": ("CIFAR Bài 1", 30, 3, CIFAR),
    "Bài 7: Bài 2 với CIFAR10": ("CIFAR Bài 2", 30, 1, CIFAR | L2),
    "Bài 7: Bài 6 với CIFAR10": ("CIFAR Bài 6", 100, 1, CIFAR),
    "Mục 4: l1": ("L1", 10, 3, L1),
    "Mục 4: l2": ("L2", 10, 3, L2),
    "Mục 6: SGD": ("SGD, 0,01", 10, 3, {}),
    "Mục 6: Momentum với giá trị là 0.9": ("Momentum, 0,01", 10, 3, optimizer("SGD", learning_rate=0.01, momentum=0.9)),
    "Mục 6: RMSProp": ("RMSProp, 0,001", 10, 3, optimizer("RMSprop", learning_rate=0.001)),
    "Mục 6: Adam": ("Adam, 0,001", 10, 3, optimizer("Adam", learning_rate=0.001)),
    "Mục 6: Adagrad": ("Adagrad, 0,001", 10, 3, optimizer("Adagrad", learning_rate=0.001)),
}
# What was added: controls, surveys, and what stands beside the assignment's own setting.
SMALL_W, NEAR_1 = ("RandomNormal", {"mean": 0.0, "stddev": 0.003}), ("RandomNormal", {"mean": 1.0, "stddev": 0.05})
SCALED = {"rescaling": 1 / 255}
ASKED |= {
    "W₁ nhỏ": ("W₁ nhỏ", 30, 3, {"first_kernel_initializer": SMALL_W}),
    "W quanh 1": ("W quanh 1", 10, 3, {"kernel_initializer": NEAR_1}),
    "W = 0,003": ("W = 0,003", 10, 3, {"kernel_initializer": ("Constant", {"value": 0.003})}),
    "AdamW": ("AdamW", 30, 3, optimizer("Adam", learning_rate=0.001, weight_decay=0.2)),  # 2 · 0.01 · 0.01 / 0.001
    "÷ 16": ("Bài 5, η ÷ 16", 30, 3, L2 | {"batch_size": 8} | optimizer("SGD", learning_rate=0.01 / 16)),
    "× 16": ("Batch 128, η × 16", 30, 3, L2 | optimizer("SGD", learning_rate=0.16)),
    "Bài 6, L2": ("Bài 6, L2", 100, 3, L2),
    "learning rate nhỏ": (
        "CIFAR Bài 1, η = 0,0013", 30, 3, CIFAR | optimizer("SGD", learning_rate=0.0013)
    ),
    "CIFAR Bài 1, 0–1": ("CIFAR Bài 1, 0–1", 30, 3, CIFAR | SCALED),
    "không": ("Không regularization", 10, 3, {}),
    "L2, 0–1": ("L2, 0–1", 10, 3, L2 | SCALED),
    "không, 0–1": ("Không regularization, 0–1", 10, 3, SCALED),
}  # fmt: skip
RATES = {"SGD": (0.003, 0.03), "Momentum": (0.001, 0.003), "RMSProp": (0.0001, 0.0003), "Adam": (0.0001, 0.0003)}
RATES |= {"Adagrad": (0.01, 0.03)}
for kind, rates in RATES.items():
    keras_name = {"Momentum": "SGD", "RMSProp": "RMSprop"}.get(kind, kind)
    momentum = {"momentum": 0.9} if kind == "Momentum" else {}
    for rate in rates:
        name = f"{kind}, {rate:g}".replace(".", ",")
        ASKED[name] = (name, 10, 1, optimizer(keras_name, learning_rate=rate, **momentum))
OUTPUT_OF = {"BinaryCrossentropy": "sigmoid", "CategoricalCrossentropy": "softmax"}
OUTPUT_OF |= {"SparseCategoricalCrossentropy": "softmax"}
LINEAR = ["MeanSquaredError", "MeanAbsoluteError", "CosineSimilarity", "Hinge"]
OUTPUT_OF |= dict.fromkeys(LINEAR, "linear")
ASKED |= {
    f"Mục 7: {name}": (name, 10, 1, {"loss": (name, {}), "activation": output}) for name, output in OUTPUT_OF.items()
}
for name in LINEAR[:2]:
    ASKED[f"{name}, 0–1"] = (f"{name}, 0–1", 10, 1, {"loss": (name, {}), "activation": "linear"} | SCALED)


def matches(value, wanted) -> bool:
    """Whether a setting of the record is a value, or a Keras object of a class with this in its configuration."""
    if not isinstance(wanted, tuple):
        return value == (pytest.approx(wanted, rel=1e-6) if isinstance(wanted, float) else wanted)
    name, config = wanted
    modules = keras.optimizers, keras.losses, keras.initializers, keras.regularizers
    whole = next(getattr(module, name) for module in modules if hasattr(module, name))(**config).get_config()
    return value["class_name"] == name and all(
        value["config"].get(key) == (pytest.approx(item, rel=1e-6) if isinstance(item, float) else item)
        for key, item in whole.items()
        if key not in ("name", "seed") and isinstance(item, bool | int | float | None)
    )


def runs_named(notebook, name: str) -> list[dict]:
    """The runs under a name of the list of all experiments."""
    return [find_record(notebook)["runs"][key] for key in ids_named(notebook).get(name, [])]


def test_each_experiment_has_exactly_its_settings(notebook):
    """Those that the assignment names, and all others; a setting that is not named is that of Mục 3.

    In the saved runs; test_shown.py asks that the notebook's cells train with the settings of these.
    """
    wrong = []
    for name, epochs, seeds, changes in ASKED.values():
        runs = runs_named(notebook, name)
        if len(runs) < seeds or [run["seed"] for run in runs] != list(range(len(runs))):
            wrong.append(f"“{name}” has the seeds {[run['seed'] for run in runs]}, {seeds} are needed")
        for run in runs:
            ended = run["metrics"]["train"]["loss"] is None  # a loss that grew without bound ends its run
            if run["epochs"] != epochs and not ended:
                wrong.append(f"{name}: {run['epochs']} epochs, {epochs} are asked")
            for setting, wanted in (MUC3 | changes).items():
                found = run["settings"][setting]
                wrong += [] if matches(found, wanted) else [f"{name}: {setting} is {found}, {wanted} is asked"]
    wrong += [f"“{name}” is not known" for name in ids_named(notebook) if name not in [n for n, *_ in ASKED.values()]]
    assert not wrong, "\n".join(wrong)


def test_the_images_are_all_there(record):
    assert record["sizes"]["mnist"] == {"train": 54_000, "dev": 6_000, "test": 10_000}
    assert record["sizes"]["cifar10"] == {"train": 45_000, "dev": 5_000, "test": 10_000}
    assert record["profile"] == "full"


def test_the_assignments_own_early_stopping_is_run(notebook):
    source = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert 'EarlyStopping(monitor="loss", patience=2)' in source


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


def ids_named(notebook) -> dict[str, list[str]]:
    """The run ids under each name of the list of all experiments."""
    (table,) = [o for o in outputs(notebook, "table") if o.metadata["bth2"]["key"] == "all"]
    lines = table.data["text/markdown"].split("\n")[2:]
    return {line.split("|")[1].strip(): ids for line, ids in zip(lines, table.metadata["bth2"]["ids"], strict=True)}


@pytest.mark.parametrize("which", ["notebook", "quick"])
def test_the_checks_before_the_experiments_hold(request, which):
    (table,) = [o for o in outputs(request.getfixturevalue(which), "table") if o.metadata["bth2"]["key"] == "checks"]
    for name, *numbers in rows_of(table)[2:]:
        wanted, found = (float(number.replace(",", ".")) for number in numbers)
        assert found == pytest.approx(wanted, rel=0.01), f"{name}: {found}, not {wanted}"


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
            update = 11e6 + (size + 24) * 784 * (pixels + 10)
            found += epochs * -(-images // size) * update / (422 * (11e6 + 152 * 784 * 794))
        assert work == pytest.approx(found, rel=0.03), f"{seeds} seeds: {work}, the experiments need {found:.0f}"
