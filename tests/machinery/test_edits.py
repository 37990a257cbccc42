"""What a student may do to a cell: a wrong setting is one sentence, an edit goes through to the end of the notebook.

The notebook's cells run here one after the other in a namespace of their own, on small data files, and no experiment
is trained: `train_jobs` gives each a run with numbers that its settings and seed alone decide. So every section and
its texts run as they would, in seconds.
"""

import copy
import functools
import itertools
import linecache
import os
import re
import types
import warnings

import nbformat
import numpy as np
import pytest
from conftest import find_record, outputs_of
from test_data import good

STATE = ("RECORD", "PLACES", "SAID", "EXPECTED", "RUNS", "KNOWN", "DONE", "colour_of")  # what cells fill


class Played:
    """The notebook's cells, executed in one namespace, with what they show as their outputs."""

    def __init__(self, notebook, **settings):
        self.notebook, self.settings = copy.deepcopy(notebook), {"WORKERS": "1", "CACHE_DIR": ""} | settings
        self.history = [""]
        kernel = types.SimpleNamespace(history_manager=types.SimpleNamespace(input_hist_raw=self.history))
        self.names = {"__name__": "__main__", "display": self.display, "get_ipython": lambda: kernel}
        self.by_id, self.sections, heading = {}, {}, ""
        for cell in self.notebook.cells:
            heading = cell.source.split("\n")[0] if cell.source.startswith("## ") else heading
            if cell.cell_type == "code":
                self.sections.setdefault(heading, []).append(cell)
        first = next(i for i, heading in enumerate(self.sections) if heading.startswith("## Bài 1"))
        self.before = list(itertools.chain(*list(self.sections.values())[:first]))
        self.exercises = dict(list(self.sections.items())[first:])

    def display(self, data, metadata=None, raw=True, display_id=None, update=False):
        output = nbformat.v4.new_output("display_data", data, metadata=metadata or {})
        if update:
            self.by_id[display_id].update(output)
        else:
            self.by_id[display_id] = output
            self.cell.outputs.append(output)
        return types.SimpleNamespace(update=lambda data, **_: None)

    def run(self, cells) -> None:
        for cell in cells:
            self.cell, cell.outputs, cell.execution_count = cell, [], len(self.history)
            self.history.append(cell.source)
            source = cell.source.replace("hidden: tuple = (784,)", "hidden: tuple = (16,)")  # sixteen units: faster
            name = f"<cell {len(self.history)} of {id(self)}>"  # where `inspect` finds the source
            linecache.cache[name] = len(source), None, source.splitlines(keepends=True), name
            with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # means of runs that diverged
                exec(compile(source, name, "exec"), self.names)  # noqa: S102
            if "settings" in cell.metadata.get("tags", []):
                self.names |= self.settings
            if "def train_jobs(" in cell.source:
                self.names["train_jobs"] = lambda jobs: [self.untrained(*job) for job in jobs]
                self.names |= {"STEPS": 1, "key_of": functools.cache(self.names["key_of"])}
            if "def figure(" in cell.source:
                self.names["print_figure"] = lambda fig, form, **_: f"{form} of {fig.get_size_inches()}"

    def untrained(self, e, seed):
        """A Run with numbers from nowhere: a longer one begins with the same; squared errors of 0-255 diverge."""
        names, n = self.names, 200
        rng = np.random.default_rng(int(names["key_of"](e, seed), 16))
        fall = lambda start, end: np.clip(end + (start - end) * 0.7 ** np.arange(n) + rng.normal(0, 0.02, n), 0, 1)
        history = {"dead": fall(0, 0.5), "seconds": 1 + fall(1, 0)} | {f"norm_{i}": 30 * fall(1, 0.5) for i in (1, 2)}
        for part in ("", "val_"):
            history |= {f"{part}accuracy": fall(0.2, 0.95), f"{part}loss": fall(0.9, 0.2)}
            history |= {f"{part}data_loss": fall(0.7, 0.1)}
        diverges = type(e.loss).__name__ == "MeanSquaredError" and not e.rescaling
        history = {key: values[: 1 if diverges else e.epochs].tolist() for key, values in history.items()}
        if diverges:
            history |= {key: [np.nan] for key in history if "loss" in key}
        last = {part: {m: history[part + m][-1] for m in ("accuracy", "loss", "data_loss")} for part in ("", "val_")}
        metrics = {"train": last[""], "dev": last["val_"], "test": {m: x * 0.98 for m, x in last["val_"].items()}}
        metrics["hidden"] = {"distinct": int(rng.choice([1, 784])), "near_zero": float(rng.random())}
        state = lambda run: [v.numpy() for v in names["state_of"](names["network"](e, seed))]
        return type("Untrained", (names["Run"],), {"state": property(state)})(e, seed, history, metrics, [])

    def texts(self) -> str:
        """All that is written in the outputs."""
        outputs = (output for cells in self.sections.values() for cell in cells for output in cell.outputs)
        return "\n".join(o.data["text/markdown"] for o in outputs if "text/markdown" in o.data)


BROKEN = re.compile(
    r"\bnan\b|None|[{}]|[^ |]  +[^ |]|[.,;:] ?[.,;:](?!\.)|\( | \)|\(\)|\*\*\*\*|: *$|: \*\*$", re.MULTILINE
)


def check(played: Played) -> dict:
    """No sentence is broken, and the record is in itself consistent; returns the record."""
    found = [played.texts()[max(m.start() - 60, 0) : m.end() + 20] for m in BROKEN.finditer(played.texts())]
    assert not found, f"broken sentences: {found}"
    record = find_record(played.notebook)
    for key, text in record["texts"].items():
        for call in text["said"]:
            assert call["text"] in text["text"]
            for side in [s for claim in call["claims"] for s in (claim["a"], claim["b"])] + [call.get("a")]:
                lost = set(side["runs"] if side else ()) - set(record["runs"])
                assert not lost, f"{key} speaks of runs that the record does not have"
    shown = [name for name in dict(record["shown"]) if name.split()[0] not in ("progress", "record")]
    outputs = (o.metadata["bth2"] for cells in played.sections.values() for c in cells for o in c.outputs)
    told = {f"{about['kind']} {about['key']}" for about in outputs if about["kind"] not in ("progress", "record")}
    assert told == set(shown), "the record's list of what was shown is another one"
    return record


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("data")
    for name in ("mnist", "cifar10"):
        np.savez(path / f"{name}.npz", **good(name))
    return path


@pytest.fixture(scope="module")
def set_up(notebook, folder):
    """The notebook before its first exercise, two seeds; `played` goes back to here."""
    played = Played(notebook, DATA_DIR=str(folder), SEEDS="2")
    played.run(played.before)
    return played, dict(played.names), copy.deepcopy({name: played.names[name] for name in STATE}), len(played.history)


@pytest.fixture
def played(set_up, notebook):
    """A function that runs the notebook's exercises, with {what stands in the source: what a student writes there}."""
    played, names, state, count = set_up

    def play(edits: dict[str, str]) -> Played:
        played.names.clear()
        played.names.update(names | copy.deepcopy(state))
        del played.history[count:]
        sources = {cell.id: cell.source for cell in notebook.cells}
        for old, new in edits.items():
            places = [key for key, source in sources.items() if old in source]
            assert len(places) == 1, f"{old} stands in {len(places)} cells"
            sources[places[0]] = sources[places[0]].replace(old, new)
        for cell in itertools.chain(*played.exercises.values()):
            cell.source = sources[cell.id]
        for cells in played.exercises.values():
            played.run(cells)
        return played

    return play


# Settings


@pytest.mark.parametrize("name", ["SEED", "SEEDS", "WORKERS", "PROFILE"])
def test_a_wrong_setting_of_the_first_cell_is_one_sentence(set_up, name):
    source = next(cell.source for cell in set_up[0].before if "class UserError" in cell.source)
    for value in (0, -1, 1.5, "x", "²", None, True, 2**70):
        if (name, value) in (("SEED", 0), ("SEEDS", 2**70), ("WORKERS", 2**70)) and value is not True:
            continue
        names = {"os": os, "PROFILE": "quick", "SEED": 0, "SEEDS": "2", "WORKERS": ""} | {name: value}
        with pytest.raises(ValueError, match=f"^{name} = ") as caught:
            exec(source, names)  # noqa: S102
        assert caught.value._render_traceback_() == [f"UserError: {caught.value}"]
        assert repr(value) in str(caught.value) and "hãy chọn" in str(caught.value)


@pytest.fixture
def train(set_up, monkeypatch):
    """`train`, of which nothing may come but the one sentence of a UserError, before anything trains."""
    names = set_up[0].names
    monkeypatch.setitem(names, "train_jobs", lambda jobs: pytest.fail("it trains"))

    def one_sentence(**changes) -> str:
        with pytest.raises(names["UserError"]) as caught:
            names["train"]("x", **changes)
        (shown,) = caught.value._render_traceback_()
        assert "\n" not in shown
        return shown

    return one_sentence


@pytest.mark.parametrize("name", ["epochs", "seeds", "batch_size", "rescaling"])
def test_a_wrong_setting_of_an_experiment_is_one_sentence(train, name):
    for value in (0, -1, 1.5, "x", None, True, np.nan, np.inf, [8]):
        if name != "rescaling" or value not in (None, 1.5):
            shown = train(**{name: value})
            assert f"{name} = {value!r} không hợp lệ: hãy chọn" in shown


@pytest.mark.parametrize(
    ("written", "meant"),
    list(
        {
            "kernel_regulariser": "kernel_regularizer",
            "optimiser": "optimizer",
            "batchsize": "batch_size",
            "epoch": "epochs",
            "activaton": "activation",
            "data_set": "dataset",
            "lr": None,
        }.items()
    ),
)
def test_a_misspelt_setting_names_the_nearest_one_and_the_list(train, written, meant):
    shown = train(**{written: 1})
    assert f"Không có thiết lập {written}" in shown
    assert ("hay bạn muốn viết" in shown) == bool(meant) and f"viết {meant or ''}" in shown + "viết "
    assert all(name in shown for name in ("kernel_initializer", "optimizer", "epochs"))


UNFIT = {
    "activation": lambda layers: [{"activation": "no such"}],
    "a text as layer": lambda layers: [{"hidden": (784, "Dropout")}],
    "no tuple": lambda layers: [{"hidden": 784}, {"hidden": None}],
    "no units": lambda layers: [{"hidden": (0,)}, {"hidden": (-5,)}, {"hidden": (1.5,)}],
    "shape": lambda layers: [{"hidden": (layers.Reshape((5, 5)),)}, {"hidden": (layers.Conv2D(3, 3),)}],
    "output": lambda layers: [{"hidden": (layers.Reshape((28, 28, 1)), layers.Conv2D(3, 3))}],
    "optimizer": lambda layers: [{"optimizer": "adamm"}, {"optimizer": None}, {"optimizer": 0.01}],
    "loss": lambda layers: [{"loss": "no such"}, {"loss": 3}, {"loss": None}],
    "initializer": lambda layers: [{"kernel_initializer": "onse"}, {"first_kernel_initializer": 1}],
    "regularizer": lambda layers: [{"kernel_regularizer": 0.01}, {"bias_regularizer": "l3"}],
    "data set": lambda layers: [{"dataset": "mnits"}],
}


@pytest.mark.parametrize("what", UNFIT)
def test_what_keras_cannot_build_is_one_sentence(train, set_up, what):
    for changes in UNFIT[what](set_up[0].names["keras"].layers):
        shown = train(**changes)
        assert "Keras" in shown or "mnits" in shown, shown


# Edits


EDITS = [  # what stands in a cell, and what a student writes there: edits of other sections that run together
    {
        # Nadam for Adam, a batch of 32, a longer Bài 6, RandomNormal for Ones, another algorithm, loss and scale
        'Experiment("Adam, L2", optimizer=Adam(': 'Experiment("Nadam, L2", optimizer=keras.optimizers.Nadam(',
        "SMALL = 8": "SMALL = 32",
        'Experiment("Bài 6", epochs=LONG)': 'Experiment("Bài 6", epochs=9)',
        '"W = 1", kernel_initializer=Ones()': '"W = 1", kernel_initializer=RandomNormal()',
        '    "Adagrad": (': '    "Nadam": (keras.optimizers.Nadam, 0.001, [0.0001, 0.0003, 0.001]),\n    "Adagrad": (',
        '"Hinge": "linear", ': '"Hinge": "linear", "Huber": "linear", ',
        '"rescaling": 1 / 255}': '"rescaling": 1 / 127.5}',
    },
    {  # λ = 0,001; a large learning rate; fewer epochs; one run beside several; a name that is taken
        '{"kernel_regularizer": L2(0.01), "bias_': '{"kernel_regularizer": L2(0.001), "bias_',
        '"RMSProp, L2", optimizer=RMSprop(learning_rate=0.001)': '"RMSProp, L2", optimizer=RMSprop(learning_rate=0.1)',
        'train("Bài 1", seeds=5)': 'train("Bài 1", seeds=5, epochs=1)',
        'train("Bài 5", seeds=5,': 'train("Bài 5",',
        'train("b = 1",': 'train("L2",',
    },
    {  # Dropout, more layers, L1 in place of L2, a schedule for one learning rate
        'train("Bài 1", seeds=5)': 'train("Bài 1", seeds=5, hidden=(784, keras.layers.Dropout(0.5)))',
        'train("Bài 2", seeds=5,': 'train("Bài 2", seeds=5, hidden=(20, 12, 14),',
        '{"kernel_regularizer": L2(0.01), "bias_': '{"kernel_regularizer": L1(0.01), "bias_',
    },
    {  # a loss that diverges, a schedule for the learning rate, two factors at once
        'train("Bài 1", seeds=5)': 'train("Bài 1", seeds=5, loss="MeanSquaredError", activation="linear")',
        'train("Bài 2", seeds=5,': 'train("Bài 2", seeds=5, optimizer=SGD(SCHEDULE),',
        "WITH_L2 = {": "SCHEDULE = keras.optimizers.schedules.ExponentialDecay(0.01, 100, 0.9)\nWITH_L2 = {",
        "optimizer=Adam(learning_rate=0.001), **WITH_L2": "optimizer=Adam(), batch_size=32, **WITH_L2",
    },
]


@pytest.mark.parametrize("edits", EDITS, ids=["settings", "rates", "layers", "diverging"])
def test_edits_go_through_to_the_end(played, edits):
    record = check(played(edits))
    told = [call for text in record["texts"].values() for call in text["said"] if call.get("verdict") == "several"]
    assert all("nên không so được" in call["text"] for call in told)
    assert told or "batch_size=32" not in str(edits), "a comparison of two factors passes for one of one"


def test_sections_that_run_again_leave_everything_as_it_was(played):
    """Numbers of figures and tables, the record, the texts: each once, as last shown."""
    notes = played({})
    once = check(notes)
    for cells in notes.exercises.values():
        notes.run(cells)
    twice = check(notes)
    for name in ("shown", "texts", "verdicts", "drawn", "runs"):
        assert list(once[name]) == list(twice[name]), f"{name}: another order, or something twice"
        assert once[name] == twice[name], f"{name} changed"
    for cells in notes.exercises.values():  # the whole notebook was run, and one exercise is changed
        for cell in cells:
            cell.source = cell.source.replace("SMALL = 8", "SMALL = 32")
        if any("SMALL" in cell.source for cell in cells) or notes.names["SMALL"] == 32:
            notes.run(cells)
    again, anew = check(notes), check(played({"SMALL = 8": "SMALL = 32"}))
    for name in (name for name in anew["texts"] if name.startswith("answer")):
        assert again["texts"][name]["text"] == anew["texts"][name]["text"]
        assert again["texts"][name]["note"] == anew["texts"][name]["note"], "a note of what ran before"
    assert again["verdicts"] == anew["verdicts"] != once["verdicts"]


def test_stand_in_data_another_seed_and_one_run_of_each(notebook, monkeypatch):
    def unreachable():
        raise OSError("no network")

    for name in ("mnist", "cifar10"):
        monkeypatch.setattr(f"keras.datasets.{name}.load_data", unreachable)
    played = Played(notebook, DATA_DIR="", SEED=7, SEEDS="1")
    for cells in played.sections.values():
        played.run(cells)
    record = check(played)
    assert {run["seed"] for run in record["runs"].values()} == {7}
    assert all(data["stand_in"] for data in record["data"].values())
    assert "DỮ LIỆU THAY THẾ" in played.texts()
    claims = [claim for text in record["texts"].values() for call in text["said"] for claim in call["claims"]]
    assert claims and all(claim["p"] is None for claim in claims), "one run is no test"
    assert not re.search(
        r"[✗≈]", "".join(v["mark"] for s in record["verdicts"].values() for v in s if v["claim"]["relation"] != "=")
    )
    answers = [
        o.data["text/markdown"] for cells in played.exercises.values() for c in cells for o in outputs_of(c, "answer")
    ]
    assert all("chỉ có một lần chạy" in text or "Kết luận" in text for text in answers), "one run is not said"
