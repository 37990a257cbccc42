"""What a student may do to a cell: a wrong setting is one sentence, an edit goes through to the end of the notebook."""

import itertools
import json
import os
import re

import numpy as np
import pytest
from conftest import find_record, outputs
from played import Played
from recompute import problems
from test_data import good, one_sentence, written

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # means of runs that diverged


FIRST_CELL = [*itertools.product(("SEED", "SEEDS", "WORKERS", "PROFILE"), (-1, 1.5, "x", "²", None, True))]


@pytest.mark.parametrize(("name", "value"), [*FIRST_CELL, ("SEEDS", 0), ("WORKERS", 0), ("SEED", 2**31)])
def test_a_wrong_setting_of_the_first_cell_is_one_sentence(notebook, name, value):
    (source,) = [cell.source for cell in notebook.cells if "class UserError" in cell.source]
    names = {"os": os, "PROFILE": "quick", "SEED": 0, "SEEDS": "2", "WORKERS": ""} | {name: value}
    said = f"UserError: {name} = {value!r} không hợp lệ: hãy chọn"
    assert one_sentence(exec, source, names).startswith(said)


WRONG = {  # what a student writes: what the sentence says
    f"{name}={value!r}": f"{name} = {value!r} không hợp lệ: hãy chọn"
    for name in ("epochs", "seeds", "batch_size", "rescaling")
    for value in (0, -1, 1.5, "x", None, True, np.nan, np.inf, [8])
    if (name != "rescaling" or value not in (None, 1.5)) and (name != "seeds" or value != [8])
} | {"seeds=[1, 2]": "seeds = [1, 2] không hợp lệ: hãy chọn"}
for misspelt, meant in {"optimiser": "optimizer", "batchsize": "batch_size", "epoch": "epochs"}.items():
    WRONG[f"{misspelt}=1"] = f"Không có thiết lập {misspelt} (hay bạn muốn viết {meant}?); có: name, dataset, "
WRONG["lr=1"] = "Không có thiết lập lr; có: name, dataset, rescaling, hidden, kernel_initializer, "
NOT_KERAS = """activation="no such"; hidden=784; hidden=None; hidden=(784, "Dropout"); hidden=(0,); hidden=(1.5,);
hidden=(layers.Reshape((5, 5)),); hidden=(layers.Conv2D(3, 3),); hidden=(layers.Dense(8, use_bias=False),);
hidden=(layers.Reshape((28, 28, 1)), layers.Conv2D(3, 3)); optimizer="adamm"; optimizer=None; optimizer=0.01;
loss="no such"; loss=3; loss=None; loss="mse"; kernel_initializer="onse"; first_kernel_initializer=1;
kernel_regularizer=0.01; bias_regularizer="l3"; dataset="mnits\""""
WRONG |= dict.fromkeys(re.split(r";\s", NOT_KERAS), "Keras không ") | {'dataset="mnits"': "mnits"}


@pytest.mark.parametrize("written", WRONG)
def test_a_wrong_setting_of_an_experiment_is_one_sentence_before_anything_trains(lab, monkeypatch, written):
    monkeypatch.setitem(lab, "train_jobs", lambda jobs: pytest.fail("it trains"))
    names = lab | {"layers": lab["keras"].layers, "nan": np.nan, "inf": np.inf}
    assert WRONG[written] in one_sentence(eval, f'train("x", {written})', names)


BROKEN = r"\bnan\b|None|[{}]|[^ |]  +[^ |]|[.,;:] ?[.,;:](?!\.)|\( | \)|\(\)|\*\*\*\*|: *$|: \*\*$"


def check(played: Played) -> dict:
    """No sentence is broken, and all follows from the record, which is returned."""
    found = itertools.chain(*(cell.get("outputs", []) for cell in played.notebook.cells))
    texts = "\n".join(output.data.get("text/markdown", "") for output in found)
    broken = [texts[max(m.start() - 60, 0) : m.end() + 20] for m in re.finditer(BROKEN, texts, re.MULTILINE)]
    assert not broken, f"broken sentences: {broken}"
    assert not (wrong := problems(played.notebook)), "\n".join(wrong)
    return find_record(played.notebook)


@pytest.fixture
def play(notebook, tmp_path, monkeypatch):
    """A function that plays the notebook with edits, on small data files and with two seeds."""
    for name in ("mnist", "cifar10"):
        (tmp_path / f"{name}.npz").write_bytes(written(np.savez, **good(name)))
    for name, value in {"DATA_DIR": str(tmp_path), "SEEDS": "2", "WORKERS": "1"}.items():
        monkeypatch.setenv(f"BTH2_{name}", value)
    return lambda edits: Played(notebook, edits)


EDITS = {
    "settings": {  # Nadam for Adam, a batch of 32, other lengths, another initializer, algorithm, loss, scale and λ
        'Experiment("Adam, L2", optimizer=Adam(': 'Experiment("Nadam, L2", optimizer=keras.optimizers.Nadam(',
        "SMALL = 8": "SMALL = 32",
        "LAMBDA = 0.01": "LAMBDA = 0.001",
        'train("Bài 1")': 'train("Bài 1", epochs=1)',
        'Experiment("Bài 6", epochs=LONG)': 'Experiment("Bài 6", epochs=9)',
        '"W = 1", kernel_initializer=Ones()': '"W = 1", kernel_initializer=RandomNormal()',
        '    "Adagrad": (': '    "Nadam": (keras.optimizers.Nadam, 0.001, [0.0001, 0.0003, 0.001]),\n    "Adagrad": (',
        '"Hinge": "linear",': '"Hinge": "linear", "Huber": "linear",',
        "**CIFAR, rescaling=1 / 255": "**CIFAR, rescaling=1 / 127.5",
    },
    "layers": {  # Dropout, more layers, L1 for L2, a large learning rate, one run beside several, a name that is taken
        'train("Bài 1")': 'train("Bài 1", hidden=(784, keras.layers.Dropout(0.5)))',
        'Experiment("Bài 2",': 'Experiment("Bài 2", hidden=(20, 12, 14),',
        '{"kernel_regularizer": L2(LAMBDA), "bias_': '{"kernel_regularizer": L1(LAMBDA), "bias_',
        "optimizer=RMSprop(learning_rate=ADAM_RATE)": "optimizer=RMSprop(learning_rate=0.1)",
        "optimizer=SGD(0.16), **WITH_L2),": "optimizer=SGD(0.16), **WITH_L2),\n    seeds=[1, 3, 3],",
        'train("b = 1",': 'train("L2",',
    },
    "diverging": {  # a loss that diverges, a schedule for the learning rate, two factors at once
        'train("Bài 1")': 'train("Bài 1", loss="MeanSquaredError", activation="linear")',
        'Experiment("Bài 2",': 'Experiment("Bài 2", optimizer=SGD(SCHEDULE),',
        "WITH_L2 = {": "SCHEDULE = keras.optimizers.schedules.ExponentialDecay(0.01, 100, 0.9)\nWITH_L2 = {",
        "optimizer=Adam(learning_rate=ADAM_RATE), **WITH_L2": "optimizer=Adam(), batch_size=32, **WITH_L2",
    },
}


@pytest.mark.parametrize("name", EDITS)
def test_edits_go_through_to_the_end(play, name):
    record = check(play(EDITS[name]))
    text = record["texts"]["answer Bài 4 – RMSProp và Adam"]["text"]
    assert ("Nadam" in text, bool(re.search(r"\bAdam\b", text))) == (
        (True, False) if name == "settings" else (False, True)
    )


def test_sections_that_run_again_leave_everything_as_it_was(play):
    """Numbers of figures and tables, the record, the texts: each once, as last shown."""
    played = play({})
    once = check(played)
    played.run("## Bài 1")
    twice = check(played)
    for name in ("shown", "texts", "verdicts", "drawn", "runs"):
        same = json.dumps(once[name]) == json.dumps(twice[name])
        assert same, f"{name}: another order, or something twice, or something changed"
    first_screen = next(cell for cell in played.notebook.cells if "FIRST_SCREEN =" in cell.source)
    told = [output.data["text/markdown"] for output in first_screen.outputs]
    played.names["train"]("x", seeds=1)
    waiting = [output.data["text/markdown"] for output in first_screen.outputs]
    assert not set(told) & set(waiting) and waiting[: len(played.names["FIRST_SCREEN"])] == [
        *played.names["FIRST_SCREEN"].values()
    ], "numbers of an older run stay on the first screen"
    played.edit({"SMALL = 8": "SMALL = 32"})  # the whole notebook was run, and one exercise is changed
    played.run("## Bài 5")
    again, anew = check(played), check(play({"SMALL = 8": "SMALL = 32"}))
    for name in [name for name in anew["texts"] if name.startswith("answer")]:
        for part in ("text", "note"):
            assert again["texts"][name][part] == anew["texts"][name][part], f"{name} has a {part} of what ran before"
    assert again["verdicts"] == anew["verdicts"] != once["verdicts"]


def test_stand_in_data_another_seed_and_one_run_of_each(play, monkeypatch):
    def unreachable():
        raise OSError("no network")

    for name in ("mnist", "cifar10"):
        monkeypatch.setattr(f"keras.datasets.{name}.load_data", unreachable)
    for name, value in {"DATA_DIR": "", "SEEDS": "1"}.items():
        monkeypatch.setenv(f"BTH2_{name}", value)
    played = play({"\nSEED = 0": "\nSEED = 7"})
    record = check(played)
    assert {run["seed"] for run in record["runs"].values()} == {7}
    assert all(data["stand_in"] for data in record["data"].values())
    assert outputs(played.notebook, "text")[0].data["text/markdown"].count("DỮ LIỆU THAY THẾ") == 2
    notes = {name: text["note"] for name, text in record["texts"].items() if "note" in text}
    assert all(note.startswith("Mỗi thí nghiệm ở đây chỉ có một seed") for note in notes.values()), notes
