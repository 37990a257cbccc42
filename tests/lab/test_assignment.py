"""What this assignment asks, from its sentences to the runs, the parts and the words of the saved notebook."""

import ast
import re

import keras
import numpy as np
import pytest
from conftest import find_record, outputs, outputs_of
from recompute import quantity, rows_of, runs_of, same_text

BOTH = pytest.mark.parametrize("which", ["notebook", "quick"])
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
QUICK = {10: 2, 30: 3, 100: 6}  # epochs of the quick profile


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


@BOTH
def test_each_experiment_has_exactly_its_settings(request, which):
    """Those that the assignment names, and all others; a setting that is not named is that of Mục 3."""
    notebook, wrong = request.getfixturevalue(which), []
    for name, epochs, seeds, changes in ASKED.values():
        runs = runs_named(notebook, name)
        epochs, seeds = (epochs, seeds) if which == "notebook" else (QUICK[epochs], min(seeds, 2))
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


@BOTH
def test_early_stopping_by_each_monitor_of_the_assignment(request, which):
    notebook = request.getfixturevalue(which)
    (table,) = [o for o in outputs(notebook, "table") if o.metadata["bth2"]["key"] == "stopping"]
    runs = runs_of(find_record(notebook))
    bai6 = [runs[key] for key in ids_named(notebook)["Bài 6"]]
    keys = {m: [f"stop {m}", f"dev {m}", f"dev_loss {m}"] for m in ("loss", "accuracy", "val_loss", "val_accuracy")}
    keys[f"epoch {bai6[0]['epochs']}"] = ["dev", "dev_loss"]
    rows = {row[0]: row[1:] for row in rows_of(table)[2:]}
    assert list(rows) == list(keys)
    for name, cells in rows.items():
        for key, cell in zip(keys[name], cells[-len(keys[name]) :], strict=True):
            values = np.array([quantity(key)(run) for run in bai6])
            digits = len(cell.split("\u00a0")[0].partition(",")[2])
            assert same_text(cell, "@\u00a0±\u00a0@", [values.mean(), values.std(ddof=1)], digits), f"{name}: {cell}"
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


@BOTH
@pytest.mark.parametrize("number", range(1, 8))
def test_an_exercise_has_its_parts_and_an_answer_that_can_be_read(request, which, number):
    notebook = request.getfixturevalue(which)
    record = find_record(notebook)
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


# Each reading: where it stands, how it begins, and the comparisons that it rests on (key, runs, relation, runs or
# number). A name that stands alone is compared with a number.
READINGS = [
    ("Bài 1", "học được MNIST", [("test", "Bài 1", ">", 90)]),
    ("Bài 1", "và bị overfitting", [("gap", "Bài 1", ">", 0)]),
    ("Bài 1", "lên sát", [("train", "Bài 1", ">", 99)]),
    ("Bài 1", "mạng đã gần như thuộc", [("train", "Bài 1", ">", 99)]),
    ("Bài 2", "L2 làm giảm", [("gap", "Bài 2", "<", "Bài 1")]),
    ("Bài 2", "gần nhau hơn", [("gap", "Bài 2", "<", "Bài 1")]),
    ("Bài 2", ": accuracy train giảm", [("train", "Bài 2", "<", "Bài 1"), ("dev", "Bài 2", ">", "Bài 1")]),
    ("Bài 2", "các trọng số ngẫu", [("norm", "Bài 2", "<", None)]),
    ("Bài 2", "Có thể các", [("test", "W₁ nhỏ", ">", "Bài 1")]),
    ("Bài 3", "Khởi tạo W = 1 làm hỏng", [("test", "W = 1", "<", "Bài 1")]),
    (
        "Bài 3",
        "Mọi nơ-ron",
        [("distinct", "W = 1", "=", 1), ("dead_soon", "W = 1", "=", 100), ("swing", "W = 1", "=", 0)],
    ),
    ("Bài 3", "trọng số ở nơi có nét chữ", [("on_ink", "W = 1", "<", 0)]),
    ("Bài 3", "Chỉ làm W khác", [("dead", "W quanh 1", "=", 100), ("dead", "W = 0,003", "=", 100)]),
    ("Bài 3", "không rời được 0", [("norm", "W = 0", "=", 0)]),
    ("Bài 3", "như khi luôn đoán chữ số 1", [("test", "W = 1", "=", None)]),
    ("Bài 4", "Có L2, Adam hơn", [("dev_late", "Adam, L2", ">", "RMSProp, L2")]),
    ("Bài 4", "cả hai đều kém", [("dev_late", "RMSProp, L2", "<", "Bài 2"), ("dev_late", "Adam, L2", "<", "Bài 2")]),
    ("Bài 4", "dao động mạnh hơn", [("swing", "RMSProp, L2", ">", "Adam, L2")]),
    ("Bài 4", "Adam kém SGD", [("dev_late", "Adam, L2", "<", "Bài 2"), ("dev_late", "AdamW", ">", "Adam, L2")]),
    ("Bài 4", "Nhưng AdamW", [("norm", "AdamW", ">", "Adam, L2")]),
    ("Bài 5", "cao hơn sau", [("first", "Bài 5", ">", "Bài 2")]),
    ("Bài 5", "dao động mạnh hơn", [("swing", "Bài 5", ">", "Bài 2")]),
    ("Bài 5", "nhưng cuối cùng thấp", [("dev_late", "Bài 5", "<", "Bài 2")]),
    ("Bài 5", "nên nó kém", [("train", "Bài 5", "<", "Bài 2")]),
    ("Bài 5", "Learning rate của đề", [("dev_late", "Bài 5, η ÷ 16", ">", "Bài 5")]),
    ("Bài 5", "Nhưng tỉ số", [("dead", "Batch 128, η × 16", ">", "Bài 5")]),
    ("Bài 6", "Vậy theo loss", [("test", "Bài 6", ">", "Bài 1"), ("dev_loss", "Bài 6", ">", "Bài 1")]),
    ("Bài 7", "Với đúng thiết lập", [("test", "CIFAR Bài 1", "<", "CIFAR Bài 1, 0–1")]),
    ("Bài 7", "giảm gần đúng", [("norm", "CIFAR Bài 2", "=", "CIFAR Bài 2")]),
    (
        "Bài 7",
        "Learning rate",
        [
            ("test", "CIFAR Bài 1, η = 0,0013", ">", "CIFAR Bài 1"),
            ("dead", "CIFAR Bài 1, η = 0,0013", "<", "CIFAR Bài 1"),
        ],
    ),
    ("Mục 4", "L1 xoá", [("near_zero", "L1", ">", "L2")]),
    ("Mục 4", "L1 với", [("train", "L1", "<", "Không regularization")]),
    (
        "Mục 4",
        "L2 có lợi",
        [("dev", "L2", ">", "Không regularization"), ("dev", "L2, 0–1", "<", "Không regularization, 0–1")],
    ),
    ("Mục 4", "Lớp Rescaling", [("train", "Không regularization, 0–1", "<", "Không regularization")]),
    (
        "Mục 6",
        "RMSProp và Adam",
        [("test", "RMSProp, 0,001", ">", "SGD, 0,01"), ("test", "Adam, 0,001", ">", "SGD, 0,01")],
    ),
    ("Mục 6", "Theo loss", [("dev_loss", f"{name}, …", ">", "SGD, …") for name in ("RMSProp", "Adam")]),
    (
        "Mục 6",
        "còn ở Bài 4",
        [("test", "RMSProp, …", ">", "Adam, …"), ("dev_late", "Adam, L2", ">", "RMSProp, L2")],
    ),
    ("Mục 7", "Với điểm ảnh 0–255, Mean", [("number", None, "<", 0.01), ("diverged", "MeanSquaredError", "=", 1)]),
    (
        "Mục 7",
        "MeanAbsoluteError chỉ như",
        [("test", "MeanAbsoluteError", "=", 10), ("train_loss", "MeanAbsoluteError", "=", 0.1)],
    ),
    ("Mục 8", "Dừng sớm theo val_loss", [("dev_loss val_loss", "Bài 6", "<", "Bài 6")]),
    ("Mục 8", "nên dừng sớm", [("dev val_loss", "Bài 6", "<", "Bài 6")]),
    ("Mục 8", "thì không lần nào", [("stop loss", "Bài 6", "=", None)]),
    ("Mục 8", "đúng như", [("number", None, "=", None)]),
    ("Kết luận", "L2 và khởi tạo", [("test", "Bài 2", ">", "Bài 1"), ("test", "W₁ nhỏ", ">", "Bài 1")]),
    (
        "Kết luận",
        "W = 1 làm chết",
        [("test", "W = 1", "<", "Bài 1"), ("dead", "W quanh 1", "=", 100), ("dead", "W = 0,003", "=", 100)],
    ),
    ("Kết luận", "Với Adam", [("dev_late", "AdamW", ">", "Adam, L2"), ("norm", "AdamW", ">", "Adam, L2")]),
    ("Kết luận", "Chia", [("dev_late", "Bài 5, η ÷ 16", ">", "Bài 5")]),
]


def ids_named(notebook) -> dict[str, list[str]]:
    """The run ids under each name of the list of all experiments."""
    (table,) = [o for o in outputs(notebook, "table") if o.metadata["bth2"]["key"] == "all"]
    lines = table.data["text/markdown"].split("\n")[2:]
    return {line.split("|")[1].strip(): ids for line, ids in zip(lines, table.metadata["bth2"]["ids"], strict=True)}


def without_rate(name: str) -> str:
    """The name of an experiment without the learning rate that a run chose on dev."""
    return re.sub(r"^(\w+), 0,\d+$", r"\1, …", name)


@BOTH
def test_each_reading_rests_on_its_comparisons(request, which):
    """No condition is lost or inverted, whatever the runs were."""
    notebook = request.getfixturevalue(which)
    record, ids = find_record(notebook), ids_named(notebook)
    said = []
    for key, about in record["texts"].items():
        said += [
            (key.removeprefix("answer ").split(" – ")[0], call) for call in about["said"] if call["call"] == "when"
        ]
    assert len(said) == len(READINGS), f"{len(said)} readings, {len(READINGS)} are known"
    for section, begin, claims in READINGS:
        found = [call for name, call in said if name == section and call["texts"][0].startswith(begin)]
        assert len(found) == 1, f"{section}, “{begin}”: {len(found)} readings"
        assert len(found[0]["claims"]) == len(claims), f"{section}, “{begin}” lost or won a condition"
        for claim, (key, name, relation, other) in zip(found[0]["claims"], claims, strict=True):
            a, b = claim["a"], claim["b"]
            known = {each: [ids[n] for n in ids if each in (n, without_rate(n))] for each in (name, other)}
            told = (a["key"], a["runs"] in (known[name] or [[]]), claim["relation"])
            assert told == (key, True, relation), f"{section}, “{begin}” rests on {told}: {a['runs']}"
            if isinstance(other, str):
                assert b["runs"] in known[other], f"{section}, “{begin}” is not compared with {other}"
            elif key == "number" and other is None:  # two computations of one number
                assert found[0]["stands"], f"{section}, “{begin}” does not hold"
            elif other is not None:
                assert set(b["values"]) == {other}, f"{section}, “{begin}”: {b['values']}"


# What each answer compares or tells, in the order of its sentences: a quantity of an experiment, or of two.
TOLD = {
    "Bài 1": "train Bài 1; dev Bài 1; test Bài 1; first Bài 1; gap Bài 1; dev_loss Bài 1; train_loss Bài 1",
    "Bài 2": "gap Bài 1 → Bài 2; test Bài 1 → Bài 2; norm Bài 1 → Bài 2; test Bài 1 → W₁ nhỏ",
    "Bài 3": "test W = 1 → Bài 1; test W = 0; test RandomNormal → Bài 1",
    "Bài 4": "dev_late Adam, L2 → RMSProp, L2; dev_late Bài 2; first Adam, L2 → Bài 2; peak_epoch Adam, L2; "
    "dead RMSProp, L2 → Adam, L2; dev_late AdamW → Adam, L2; norm AdamW → Adam, L2",
    "Bài 5": "dev_late Bài 5 → Bài 2; first Bài 5 → dev_at Bài 2; pace Bài 5 → Bài 2; train Bài 5 → Bài 2; "
    "dev_late Bài 5, η ÷ 16; dead Batch 128, η × 16",
    "Bài 6": "test Bài 1 → Bài 6; test Bài 2 → Bài 6, L2; bottom Bài 6; dev_loss Bài 1 → Bài 6; "
    "dev_loss Bài 2 → Bài 6, L2",
    "Bài 7": "test CIFAR Bài 1; test CIFAR Bài 2; test CIFAR Bài 6; "
    "norm_soon CIFAR Bài 2; norm CIFAR Bài 2; decayed CIFAR Bài 2; swing CIFAR Bài 6; "
    "dead CIFAR Bài 1 → CIFAR Bài 1, η = 0,0013; test CIFAR Bài 1, η = 0,0013; test CIFAR Bài 1 → CIFAR Bài 1, 0–1",
    "Mục 4": "near_zero L1 → L2; dev Không regularization → L2; dev Không regularization, 0–1 → L2, 0–1",
    "Mục 5": "test Không regularization → b = 1",
    "Mục 6": "test RMSProp, …; test Adam, …; test SGD, …; test RMSProp, … → Adam, …; dev_loss SGD, …; "
    "dev_loss RMSProp, …; dev_loss Adam, …; "
    "dead Momentum, …; test Momentum, … → Momentum, …",
    "Mục 7": "number; test MeanAbsoluteError; train_loss MeanAbsoluteError; test MeanSquaredError, 0–1; "
    "test MeanAbsoluteError, 0–1; test BinaryCrossentropy → CategoricalCrossentropy; test CosineSimilarity; test Hinge",
    "Mục 8": "dev_loss val_loss Bài 6 → dev_loss Bài 6; dev val_loss Bài 6 → dev Bài 6; number",
    "Kết luận": "test Bài 2; test W₁ nhỏ; test Bài 1; test CIFAR Bài 1 → CIFAR Bài 1, 0–1",
}


def told(call: dict, names: dict) -> str:
    """What a call of the record told, as in TOLD; the learning rate that a run chose is left out."""
    sides = [call["a"]] if call["call"] == "value" else [call["claims"][0][side] for side in "ab"]
    keys = [re.sub(r"_\d+$", "", side["key"]) for side in sides]
    runs = [without_rate(names.get(tuple(side["runs"]), "")) for side in sides]
    parts = [
        name if i and key == keys[0] else f"{key} {name}" for i, (key, name) in enumerate(zip(keys, runs, strict=True))
    ]
    return " → ".join(parts).strip()


@BOTH
def test_each_sentence_is_about_the_experiments_that_it_names(request, which):
    notebook = request.getfixturevalue(which)
    names = {tuple(ids): name for name, ids in reversed(ids_named(notebook).items())}
    for key, about in find_record(notebook)["texts"].items():
        if key.startswith("answer "):
            calls = [told(call, names) for call in about["said"] if call["call"] != "when"]
            section = key.removeprefix("answer ").split(" – ")[0]
            if section == "Mục 6":  # the same runs
                calls = [call.replace("Không regularization", "SGD, …") for call in calls]
            assert calls == TOLD[section].split("; "), key


# Labels of figures that are not the experiment's own name: the figure, the label, the experiment.
LABELS = {
    "bai2": {"Bài 1": "Bài 1", "Bài 2 (L2)": "Bài 2"},
    "bai3": {"GlorotUniform": "Bài 1", "RandomNormal": "RandomNormal", "W = 1": "W = 1"},
    "bai4": {"SGD (Bài 2)": "Bài 2", "RMSProp": "RMSProp, L2", "Adam": "Adam, L2"},
    "dead": {"SGD (Bài 2)": "Bài 2", "RMSProp": "RMSProp, L2", "Adam": "Adam, L2", "AdamW": "AdamW"},
    "bai5": {"Batch 128 (Bài 2)": "Bài 2", "Batch 8": "Bài 5", "Batch 8, η ÷ 16": "Bài 5, η ÷ 16"},
    "updates": {"Batch 128": "Bài 2", "Batch 8": "Bài 5"},
    "bai6": {"Không regularization": "Bài 6", "L2": "Bài 6, L2"},
    "stopping": {"Bài 6": "Bài 6"},  # the first seed alone
    "cifar": {
        "Bài 1, 6": "CIFAR Bài 6",
        "Bài 2 (L2)": "CIFAR Bài 2",
        "η = 0,0013": "CIFAR Bài 1, η = 0,0013",
        "0–1": "CIFAR Bài 1, 0–1",
    },
}


@BOTH
@pytest.mark.parametrize("key", LABELS)
def test_each_curve_stands_under_the_name_of_its_experiment(request, which, key):
    notebook = request.getfixturevalue(which)
    ids = ids_named(notebook)
    for panel in find_record(notebook)["drawn"][key]:
        for label, name in LABELS[key].items():
            (colour,) = [colour for text, colour, *_ in panel["texts"] if text == label]
            drawn = {line["of"].split(" ")[0] for line in panel["lines"] if line["colour"] == colour}
            assert drawn == set(ids[name][: 1 if key == "stopping" else None]), (
                f"“{label}” stands by the lines of {drawn}"
            )


@BOTH
def test_upright_marks_stand_where_the_captions_say(request, which):
    record = find_record(request.getfixturevalue(which))
    ids, runs = ids_named(request.getfixturevalue(which)), runs_of(record)
    bai1, bai6 = runs[ids["Bài 1"][0]], [runs[key] for key in ids["Bài 6"]]
    epochs, train = bai1["epochs"], record["sizes"]["mnist"]["train"]
    updates = -(-train // 8)
    bottom = np.mean([quantity("bottom")(run) for run in bai6])
    stops = {quantity(f"stop {name}")(bai6[0]): name for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
    wanted = {"bai6": {epochs: f"epoch {epochs}", bottom: "loss dev thấp nhất"}, "updates": {updates: ""}}
    wanted["stopping"] = {epoch: name for epoch, name in stops.items() if epoch < bai6[0]["epochs"]}
    wanted["cifar"] = {epochs: ""}
    for key, marks in wanted.items():
        for panel in record["drawn"][key]:
            assert sorted(panel["marks"]) == pytest.approx(sorted(marks)), f"{key}: marks at {panel['marks']}"
            told = {x: text.strip() for text, _, x, _ in panel["texts"] if text.startswith(" ")}
            assert [told[x] for x in sorted(told)] == [marks[x] for x in sorted(marks)], f"{key}: {told}"
    nearest = int(np.clip(round(updates / -(-train // 128)), 1, epochs))
    caption = record["texts"]["caption Hình 10"]["text"]
    assert f"epoch {nearest} của batch 128" in caption, f"the epoch with as many updates is {nearest}: {caption}"
    keys = [
        claim["b"]["key"] for call in record["texts"]["answer Bài 5 – Batch size 8"]["said"] for claim in call["claims"]
    ]
    assert f"dev_at_{nearest}" in keys, "the answer speaks of another epoch than the caption"


ROWS = {"weights": ["Ban đầu", "Bài 1", "Bài 2", "W₁ nhỏ"], "ones": ["RandomNormal", "W = 1", "W quanh 1"]}


@BOTH
@pytest.mark.parametrize("key", ROWS)
def test_the_pictured_weights_are_of_these_experiments(request, which, key):
    panels = find_record(request.getfixturevalue(which))["drawn"][key]
    assert [panel["ylabel"].split(" (")[0] for panel in panels] == ROWS[key]


@BOTH
def test_levels_that_are_no_run_stand_at_their_values(request, which):
    """Guessing among ten classes, and answering the shares of ten classes that are about equal."""
    record = find_record(request.getfixturevalue(which))
    shares = -(0.1 * np.log(0.1) + 0.9 * np.log(0.9))
    levels = {i["of"]: i["xy"] for panel in record["drawn"]["cifar"] for i in panel["lines"] if i["style"] == ":"}
    assert levels["đoán mò"][1] == [10, 10]
    assert levels["tỉ lệ lớp"][1] == pytest.approx([shares] * 2, rel=0.02)


@BOTH
def test_theory_and_run_agree_on_the_divergence(request, which):
    said = find_record(request.getfixturevalue(which))["texts"]["answer Mục 7 – Các hàm mất mát"]["said"]
    (call,) = [call for call in said if call["text"] in call.get("texts", ()) and "phân kỳ" in call["texts"][0]]
    assert len({claim["holds"] for claim in call["claims"]}) == 1, "the bound and the run do not agree"


@BOTH
def test_the_largest_share_of_a_confusion_matrix_is_the_one_that_the_caption_names(request, which):
    notebook = request.getfixturevalue(which)
    record = find_record(notebook)
    caption = next(
        a["text"] for k, a in record["texts"].items() if k.startswith("caption") and "nhận nhầm;" in a["text"]
    )
    classes = {"MNIST": list("0123456789")}
    classes["CIFAR-10"] = ["máy bay", "ô tô", "chim", "mèo", "hươu", "chó", "ếch", "ngựa", "tàu thuỷ", "xe tải"]
    for panel in record["drawn"]["confusion"]:
        assert (panel["xlabel"], panel["ylabel"]) == ("Nhãn dự đoán", "Nhãn đúng")
        assert panel["ticks"] == [classes[panel["title"]]] * 2
        shares = {(int(x), int(y)): text for text, _, x, y in panel["texts"] if text}
        most, names = max(shares.values(), key=lambda text: float(text.replace(",", "."))), classes[panel["title"]]
        told = [f"{names[y]} bị nhận nhầm là {names[x]}, {most}\u00a0%" for (x, y), t in shares.items() if t == most]
        assert any(text in caption for text in told), f"none of {told}: {caption}"


@BOTH
def test_sizes_and_times_in_tables_and_captions_are_those_of_the_record(request, which):
    notebook = request.getfixturevalue(which)
    record = find_record(notebook)
    tables = {o.metadata["bth2"]["key"]: o for o in outputs(notebook, "table")}
    head, _, *rows = rows_of(tables["data"])
    for row in rows:
        cells, name = dict(zip(head, row, strict=True)), {"MNIST": "mnist", "CIFAR-10": "cifar10"}[row[0]]
        shown = {part: int(cells[f"Ảnh {part}"].replace("\u202f", "")) for part in ("train", "dev", "test")}
        assert shown == record["sizes"][name]
    seconds = sum(sum(history["seconds"]) for history in record["histories"].values())
    told = f"{len(record['histories'])} lần huấn luyện, cộng lại {seconds / 60:.0f} phút"
    assert told in tables["all"].metadata["bth2"]["caption"]


@BOTH
def test_the_checks_before_the_experiments_hold(request, which):
    (table,) = [o for o in outputs(request.getfixturevalue(which), "table") if o.metadata["bth2"]["key"] == "checks"]
    for name, *numbers in rows_of(table)[2:]:
        wanted, found = (float(number.replace(",", ".")) for number in numbers)
        assert found == pytest.approx(wanted, rel=0.01), f"{name}: {found}, not {wanted}"


SHORT_NAMES = {"GlorotUniform (Bài 1)": "Bài 1", "b = 0": "Không regularization"}


@BOTH
def test_each_row_of_a_table_stands_under_the_name_of_its_experiment(request, which):
    notebook = request.getfixturevalue(which)
    ids = ids_named(notebook)
    for table in [o for o in outputs(notebook, "table") if "ids" in o.metadata["bth2"]]:
        for row, runs in zip(rows_of(table)[2:], table.metadata["bth2"]["ids"], strict=True):
            assert ids[SHORT_NAMES.get(row[0], row[0])] == runs, f"{table.metadata['bth2']['key']}: {row[0]}"


@BOTH
def test_the_last_rows_are_those_of_which_a_caption_speaks(request, which):
    """ "Hai hàng cuối": so many epochs, or a layer Rescaling; the other rows have neither."""
    notebook = request.getfixturevalue(which)
    runs, spoken = find_record(notebook)["runs"], 0
    for table in [o.metadata["bth2"] for o in outputs(notebook, "table") if "ids" in o.metadata["bth2"]]:
        found = re.search(r"hai hàng cuối(?:: (\d+) epoch| có lớp Rescaling)", table["caption"])
        firsts = [runs[ids[0]] for ids in table["ids"]]
        if found and found[1]:
            assert [run["epochs"] == int(found[1]) for run in firsts[-2:]] == [True] * 2, table["caption"]
            assert int(found[1]) not in [run["epochs"] for run in firsts[:-2]], table["caption"]
        elif found:
            scaled = [run["settings"]["rescaling"] is not None for run in firsts]
            assert scaled == [False] * (len(firsts) - 2) + [True] * 2, table["caption"]
        spoken += bool(found)
    assert spoken == 2


@BOTH
def test_numbers_that_are_no_quantity_of_a_run(request, which):
    """The decay since epoch 1 that Bài 7 tells, and always answering 1, by their formulas."""
    record = find_record(request.getfixturevalue(which))
    said = record["texts"]["answer Bài 7 – CIFAR-10"]["said"]
    (side,) = [call["a"] for call in said if call["call"] == "value" and call["a"]["key"] == "decayed"]
    (run,) = [runs_of(record)[key] for key in side["runs"]]
    updates = -(-record["sizes"]["cifar10"]["train"] // 128) * (run["epochs"] - 1)
    assert side["values"] == pytest.approx([run["history"]["norm_1"][0] * (1 - 2 * 0.01 * 0.01) ** updates])


def test_the_largest_hidden_value_and_always_one_answer_in_a_quick_run(quick, lab):
    (table,) = [o for o in outputs(quick, "table") if o.metadata["bth2"]["key"] == "bai3"]
    shown = {row[0]: row[1] for row in rows_of(table)[2:]}
    _, hidden = lab["first_batch"](lab["Experiment"]("x", kernel_initializer=lab["Ones"]()))
    assert shown["W = 1"] == lab["brief"](hidden.max())
    said = find_record(quick)["texts"]["answer Bài 3 – Khởi tạo tham số W"]["said"]
    (call,) = [call for call in said if "đoán chữ số 1" in call["text"]]
    ones = 100 * np.mean(lab["DATA"]["mnist"].labels["test"] == 1)
    assert call["claims"][0]["b"]["values"] == pytest.approx([ones] * 2)


MAIN = ["Bài 1", "Bài 2", "W = 1", "W = 0", "RMSProp, L2", "Adam, L2", "Bài 5", "Bài 6", "Bài 6, L2"]
MAIN += ["CIFAR Bài 1", "CIFAR Bài 2", "CIFAR Bài 6", "CIFAR Bài 1, 0–1"]


@BOTH
def test_the_first_table_has_every_exercise(request, which):
    notebook = request.getfixturevalue(which)
    (table,) = outputs(notebook, "front")
    ids = ids_named(notebook)
    assert table.metadata["bth2"]["ids"] == [ids[name] for name in MAIN]
    assert [int(row[1]) for row in rows_of(table)[2:]] == [len(ids[name]) for name in MAIN]
    assert [line.split("|")[1].strip() for line in table.data["text/markdown"].split("\n")[2:]] == MAIN


FORBIDDEN = ["không phạt", "đơn vị chết", "độ chính xác (%)", "xe tải thành", "chữ số 1 thành", "Viết trước khi chạy"]


def test_one_thing_has_one_name(notebook):
    for cell in notebook.cells:
        for word in FORBIDDEN:
            assert word not in cell.source, f"“{word}” in: {cell.source[:80]}"


@BOTH
def test_a_cause_stands_under_a_condition(request, which):
    """ "Vì", "nhờ" and "nguyên nhân" are claims: they are said by `when`, never by the sentence around it."""
    record = find_record(request.getfixturevalue(which))
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
            update = 11e6 + (size + 24) * 784 * (pixels + 10)
            found += epochs * -(-images // size) * update / (422 * (11e6 + 152 * 784 * 794))
        assert work == pytest.approx(found, rel=0.03), f"{seeds} seeds: {work}, the experiments need {found:.0f}"
