"""Training: the same settings give the same numbers, whatever happens, and each setting does what it says."""

import dataclasses
import inspect
import itertools
import os
import random
import shutil
import subprocess
import sys
import time
import types
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from conftest import set_up_cells
from test_data import one_sentence, written


def numbers(run) -> dict:
    """What must be equal between two trainings: everything but the seconds."""
    return {key: values for key, values in run.history.items() if key != "seconds"}


def nothing_trained() -> dict:
    return {"KNOWN": {}, "RUNS": {}, "PACE": {"seconds": 0.0, "work": 0.0}}


@pytest.fixture(autouse=True)
def fresh(lab, tmp_path):
    """The set-up with nothing trained yet, an empty cache, and one training after the other; all is put back."""
    with patch.dict(lab, nothing_trained(), WORKERS=1, CACHE=tmp_path / "cache", CACHE_DIR="cache"):
        yield lab


@pytest.fixture(scope="module")
def data(lab):
    """40, 16 and 24 images of 12 pixels: enough where only what is kept and said matters."""
    rng, counts = np.random.default_rng(0), {"train": 40, "dev": 16, "test": 24}
    x = {part: rng.integers(0, 4, (n, 12), dtype=np.uint8) for part, n in counts.items()}
    labels = {part: rng.integers(0, 10, n) for part, n in counts.items()}
    return lab["Data"]("mnist", "test", False, x, labels, "checksum")


@pytest.fixture
def tiny(fresh, data):
    """The same on tiny data: a training takes half a second."""
    fresh["prepare"] = lambda name: data
    return fresh


@pytest.fixture(scope="module")
def one(lab, data):
    """One epoch on the tiny data, for tests that need some finished run."""
    return lab["fit"](lab["Experiment"]("x", epochs=1), 0, data)


@pytest.fixture(scope="module")
def two(lab):
    """Two epochs of the network of Mục 3, with the seeds 0 and 1 side by side, as the full profile trains."""
    with patch.dict(lab, nothing_trained(), WORKERS=2, STEPS=50):
        return lab["train"]("x", seeds=2, epochs=2)


def experiment(lab, written: str, **settings):
    """An experiment with the settings that a student writes."""
    return eval(f'Experiment("x", {written})', lab | settings)


def epochs_of(lab, e, data, start=None) -> list:
    """Every Run that a training leaves, one an epoch."""
    seen = []
    lab["fit"](e, 0, data, start, seen.append)
    return seen


@pytest.mark.parametrize("seed", [0, 1])
def test_the_assignments_own_loop_gives_the_same_digits_and_the_seed_changes_them(lab, two, seed):
    """compile and fit as the assignment writes them, on the images in the same order."""
    keras, data = lab["keras"], lab["DATA"]["mnist"]
    keras.utils.set_random_seed(seed)
    layers = keras.layers.Dense(784, activation="relu"), keras.layers.Dense(10, activation="sigmoid")
    model = keras.Sequential([keras.Input((784,)), *layers])
    loss = keras.losses.BinaryCrossentropy()
    model.compile(loss=loss, optimizer=keras.optimizers.SGD(learning_rate=0.01), metrics=["accuracy"])
    y = {part: keras.utils.to_categorical(labels, 10) for part, labels in data.labels.items()}
    for epoch in range(2):
        order = np.random.default_rng([seed, epoch]).permutation(len(data.x["train"]))
        train, dev = (data.x["train"][order], y["train"][order]), (data.x["dev"], y["dev"])
        history = model.fit(*train, validation_data=dev, batch_size=128, shuffle=False, verbose=0).history
        for key, (value,) in history.items():
            assert value == two[seed].history[key][epoch], f"{key} differs in epoch {epoch + 1}"
    for loss in ("loss", "val_loss"):  # no penalty here
        assert two[seed].history[loss.replace("loss", "data_loss")] == pytest.approx(two[seed].history[loss], rel=1e-5)


LOSSES = {"BinaryCrossentropy": "sigmoid", "CategoricalCrossentropy": "softmax"}
LOSSES |= {"SparseCategoricalCrossentropy": "softmax", "MeanAbsoluteError": "linear", "CosineSimilarity": "linear"}


@pytest.mark.parametrize(("name", "activation"), LOSSES.items())
def test_the_measured_part_and_its_loss_without_the_penalty_by_numpy(lab, data, name, activation):
    keras, loss = lab["keras"], getattr(lab["keras"].losses, name)()
    settings = {"loss": loss, "activation": activation, "rescaling": 0.5, "bias_initializer": "ones"}
    penalties = {"kernel_regularizer": lab["L2"](0.01), "bias_regularizer": lab["L1"](0.5)}
    e = lab["Experiment"]("x", **settings, **penalties)
    model = lab["build_model"](e, 12, 0)
    measured = lab["measure"](model, e, data)
    W1, b1, W2, b2 = model.get_weights()
    penalty = 0.01 * (np.sum(W1**2) + np.sum(W2**2)) + 0.5 * (len(b1) + len(b2))
    for part, labels in data.labels.items():
        outputs = np.maximum(0.5 * data.x[part] @ W1 + b1, 0) @ W2 + b2
        p = np.array(keras.activations.get(activation)(outputs))
        without = float(loss(labels if "Sparse" in name else np.eye(10)[labels], p))
        wanted = {"accuracy": np.mean(p.argmax(axis=1) == labels), "data_loss": without, "loss": without + penalty}
        assert measured[part] == pytest.approx(wanted, rel=1e-4), part


OPTIMIZERS = ["SGD(3e-5)", "SGD(0.1, momentum=0.9)", "RMSprop(3e-5, rho=0.8)", "Adam(0.1, beta_2=0.8)", "Adagrad(0.1)"]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers_by_their_settings(lab, optimizer):
    """In the model that is trained: nothing of an optimizer, as momentum or a small rate, is lost on the way there."""
    e = experiment(lab, f"optimizer={optimizer}")
    used = lab["build_model"](e, 12, 0).optimizer
    assert type(used) is type(e.optimizer) and used.get_config() == e.optimizer.get_config()
    assert used is not e.optimizer, "two trainings share the state of one optimizer"


@pytest.mark.parametrize(("size", "updates"), [(8, 5), (40, 1), (16, 3)])
def test_batch_size_counts_the_updates(lab, data, size, updates):
    run = lab["fit"](lab["Experiment"]("x", batch_size=size, epochs=1), 0, data)
    assert int(run.state[4]) == updates, f"updates of 40 images in batches of {size}"


def test_initializers_reach_w_and_b(lab):
    e = experiment(lab, "kernel_initializer=Ones(), bias_initializer=RandomNormal()")
    W1, b1, W2, b2 = lab["build_model"](e, 12, 0).get_weights()
    assert (W1 == 1).all() and (W2 == 1).all(), "kernel_initializer does not reach both layers"
    assert b1.std() > 0 and b2.std() > 0, "bias_initializer does not reach both layers"
    assert not np.isin(b2, b1).any(), "one initializer object in two layers gives both the same numbers"
    e = experiment(lab, "hidden=(784, 20), first_kernel_initializer=Ones()")
    kernels = lab["build_model"](e, 12, 0).get_weights()[::2]
    assert [W.std() > 0 for W in kernels] == [False, True, True], "first_kernel_initializer is of the first layer alone"


def test_dead_and_distinct_units_and_norms_are_those_of_the_weights(lab, data):
    e = experiment(lab, "hidden=(30, keras.layers.BatchNormalization(), 20), optimizer=SGD(1.0), epochs=2")
    for epoch, run in enumerate(epochs_of(lab, e, data)):
        W1, b1 = run.state[:2]
        shares = [np.mean((data.x[part] @ W1 + b1 <= 0).all(axis=0)) for part in ("dev", "train")]
        assert 0 < shares[0] != shares[1], "these data cannot tell dev from train"
        kernels = [w for w in run.state if w.shape in ((12, 30), (30, 20), (20, 10))]
        wanted = {"dead": shares[0]} | {f"norm_{i}": np.linalg.norm(W) for i, W in enumerate(kernels[:3], start=1)}
        found = {key: values[epoch] for key, values in run.history.items() if key in wanted or "norm" in key}
        assert found == pytest.approx(wanted, rel=1e-5), f"after epoch {epoch + 1}"
    model = lab["build_model"](e, 12, 0)
    W1, b1, *rest = model.get_weights()
    W1[:, :15], b1[0] = 0, 1  # two kinds of units among the first fifteen
    model.set_weights([W1, b1, *rest])
    assert lab["measure"](model, e, data)["hidden"] == {"distinct": 17, "near_zero": np.mean(np.abs(W1) < 1e-3)}
    model.set_weights([np.ones_like(W1), np.zeros_like(b1), *rest])
    assert lab["dead_share"](model, np.eye(9000, 12, k=-8990)) == 0, "the last images were not looked at"


DEEP = {  # layers of every kind, some random, some under one name (as threads give), and names in place of objects
    "nested": "hidden=(layers.Dropout(0.3), layers.Dense(16, name='a'), layers.BatchNormalization(name='a'), 12), "
    "optimizer=SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5))",
    "pictures": "hidden=(layers.Reshape((3, 4, 1)), layers.Conv2D(3, 2, use_bias=False), layers.Flatten(), 8, "
    "layers.Dropout(0.5)), optimizer='nadam'",
    "noise": "hidden=(layers.GaussianNoise(0.5), layers.Dense(16, 'relu', kernel_initializer='he_normal'), "
    "layers.LayerNormalization(), layers.PReLU())",
    "names": "kernel_initializer='he_uniform', bias_initializer='random_normal', kernel_regularizer='l2'",
}


def test_what_keras_can_express_gives_the_same_digits_twice(tiny, data):
    """Many jobs on two workers, whose threads draw and name layers at the same time, against one after the other."""
    layers, tiny["WORKERS"] = tiny["keras"].layers, 2
    experiments = [experiment(tiny, f"epochs=2, {written}", layers=layers) for written in DEEP.values()]
    keys = [tiny["key_of"](e, 0) for e in experiments]
    *runs, _ = every = tiny["train_jobs"]([*((e, 0) for e in experiments), (experiments[0], 1)])
    assert len({str(numbers(run)) for run in every}) == len(every), "a layer, or the seed, changes nothing"
    for name, e, run in zip(DEEP, experiments, runs, strict=True):
        first = epochs_of(tiny, dataclasses.replace(e, epochs=1), data)[0]
        resumed = epochs_of(tiny, e, data, start=first)[0]
        assert numbers(resumed) == numbers(run), f"{name}: other digits for the same seed"
        assert np.isfinite(tiny["first_batch"](e)[0]), f"{name}: no first batch"
    assert [tiny["key_of"](e, 0) for e in experiments] == keys, "training changes a key"


def test_a_model_that_is_built_draws_nothing_from_the_state_that_threads_share(lab):
    """Keras's own draws do, as those of another training's thread may."""
    e = experiment(lab, "hidden=(784, keras.layers.Dropout(0.5))")
    before = random.getstate()
    lab["build_model"](e, 12, 0)
    assert random.getstate() == before


CHANGED = """dataset="cifar10"; rescaling=0.5; rescaling=1 / 255; hidden=(784, 784); hidden=(128,);
hidden=(784, keras.layers.Dropout(0.5)); hidden=(784, keras.layers.Dropout(0.2));
hidden=(784, keras.layers.Dense(8)); hidden=(784, keras.layers.Dense(8, dtype="float64"));
kernel_initializer=Ones(); kernel_initializer=RandomNormal(); kernel_initializer=RandomNormal(stddev=0.003);
first_kernel_initializer=Ones(); bias_initializer=Ones(); bias_regularizer=L2(0.01); batch_size=8;
kernel_regularizer=L2(0.01); kernel_regularizer=L2(0.001); kernel_regularizer=L1(0.01);
activation="softmax"; loss=keras.losses.MeanSquaredError(); optimizer=Adam(); optimizer=SGD(3e-5);
optimizer=SGD(4e-5); optimizer=SGD(3e-5, momentum=0.9); optimizer=SGD(4e-5, momentum=0.9)""".replace("\n", " ")


def test_the_key_knows_every_setting(lab):
    key, changed = lambda written: lab["key_of"](experiment(lab, written), 0), CHANGED.split("; ")
    fields = {f.name for f in dataclasses.fields(lab["Experiment"])} - {"name", "epochs"}
    assert {written.partition("=")[0] for written in changed} == fields, "a field has no changed value in this test"
    keys = {written: key(written) for written in ["", *changed]}
    keys["seed 1"] = lab["key_of"](lab["Experiment"]("x"), 1)
    assert lab["key_of"](lab["Experiment"]("another name"), 0) == key("epochs=9") == keys[""]
    prepare, other = lab["prepare"], dataclasses.replace(lab["prepare"]("mnist"), sha256="of other data")
    for changed_set in ("mnist", "cifar10"):
        lab["prepare"] = lambda name, changed_set=changed_set: other if name == changed_set else prepare(name)
        keys[f"other data of {changed_set}"] = key(f'dataset="{changed_set}"')
    alike = [written for written in keys if list(keys.values()).count(keys[written]) > 1]
    assert not alike, f"different trainings have one key: {alike}"


def test_an_edit_of_the_code_that_trains_changes_the_key_and_of_its_comments_does_not(lab, monkeypatch):
    recipe, key = lab["RECIPE"], lambda: lab["key_of"](lab["Experiment"]("x"), 0)
    versions = [lab["keras"].__version__, lab["tf"].__version__]
    assert recipe == [*map(lab["bare"], lab["FUNCTIONS"]), sorted(lab["MILESTONES"]), *versions]
    before = key()
    for i in range(len(recipe)):
        lab["RECIPE"] = [*recipe[:i], "edited", *recipe[i + 1 :]]
        assert key() != before, f"an edit would leave old runs in the cache: {recipe[i]}"
    monkeypatch.setattr(inspect, "getsource", lambda source: source)
    whole = 'def f(x):\n    """Says."""\n    def g():\n        """Says."""\n    return g(x)\n'
    edited = whole.replace("Says.", "Edited.").replace("    return", "    # edited\n    return")
    assert lab["bare"](edited) == lab["bare"](whole), "edited comments and docstrings"
    assert lab["bare"](whole.replace("g(x)", "g(2 * x)")) != lab["bare"](whole), "edited code"


def test_the_recipe_has_every_function_that_training_calls(lab):
    def called(code) -> set[str]:
        inner = (part for part in code.co_consts if isinstance(part, types.CodeType))
        return set(code.co_names).union(*map(called, inner))

    ours = {name for name, f in lab.items() if isinstance(f, types.FunctionType) and f.__globals__ is lab}
    known = {function.__name__ for function in lab["FUNCTIONS"]}
    for name in known | {"build_model", "fit", "measure", "state_of"}:
        lost = called(lab[name].__code__) & ours - known
        assert not lost, f"{name} calls {lost}: an edit there would leave old runs in the cache"


def test_a_milestone_of_a_longer_training_serves_the_shorter_ones(fresh, two):
    assert fresh["MILESTONES"] == {fresh["SHORT"], fresh["EPOCHS"]}, "Bài 6 holds the runs of 10 and 30 epochs, too"
    fresh["MILESTONES"], e = {2}, fresh["Experiment"]
    one, same, four = fresh["train_all"](e("a", epochs=1), e("c", epochs=2), e("b", epochs=4), seeds=1)
    assert fresh["PACE"]["work"] == pytest.approx(4 * fresh["work_of"](e("x"))), "an epoch was trained twice"
    fresh["fit"] = None  # nothing is trained any more: epoch 2 was measured on the way to 4
    (same,) = fresh["train"]("c", epochs=2, seeds=1)
    assert numbers(same) == numbers(two[0])
    assert same.metrics == two[0].metrics, "measured on the way as at the end"
    assert four[0].history["loss"][:2] == same.history["loss"] and one[0].history["loss"] == same.history["loss"][:1]


@pytest.mark.parametrize(("most", "asked", "given"), [(5, 3, [7, 8, 9]), (2, 3, [7, 8]), (5, 1, [7])])
def test_seeds_are_as_many_as_asked_but_at_most_SEEDS(tiny, one, most, asked, given):
    replaced = lambda jobs: [dataclasses.replace(one, seed=seed) for _, seed in jobs]
    tiny.update(SEED=7, SEEDS=most, train_jobs=replaced)
    assert [run.seed for run in tiny["train"]("x", seeds=asked)] == given
    x, y = (tiny["Experiment"](name) for name in "xy")
    assert [[run.seed for run in runs] for runs in tiny["train_all"](x, y, seeds=[1, asked])] == [[7], given]


def test_divergence_ends_that_run_only(tiny):
    settings = "loss=keras.losses.MeanSquaredError(), activation='linear', optimizer=SGD(1e30), epochs=4"
    bad, good = tiny["train_all"](experiment(tiny, settings), tiny["Experiment"]("x"), seeds=1)
    assert bad[0].diverged and bad[0].epochs < 4
    assert "phân kỳ" in tiny["describe"](bad[0])
    assert f"dev {100 * good[0].history['val_accuracy'][-1]:.1f} %" in tiny["describe"](good[0])
    assert not good[0].diverged and good[0].epochs == good.experiment.epochs
    tiny.update(KNOWN={}, fit=None)  # a restarted kernel, in which nothing more is trained
    assert tiny["train_all"](bad.experiment, seeds=1)[0][0].epochs == bad[0].epochs


def test_the_line_of_progress_has_what_runs_and_the_time_left(tiny):
    """At most WORKERS trainings and one line of what is done; the time of the whole notebook from the pace so far."""
    shown, wait = [], tiny["wait"]
    tiny["progress"] = lambda text, line=None: shown.append(text)
    tiny["wait"] = lambda jobs, timeout, return_when: wait(jobs, 0.02, return_when)
    tiny.update(WHOLE_WORK={1: 1000, tiny["SEEDS"]: 2000}, work_of=lambda e: 1.0, WORKERS=2)
    tiny["train_jobs"]([(tiny["Experiment"](f"name {i}", epochs=3, batch_size=8 + i), 0) for i in range(5)])
    lines = [text.split("\n") for text in shown]
    assert max(map(len, lines)) == 3, "two trainings run at most, and one line says what is done"
    assert all(line.startswith("name ") and "/3 [" in line for text in lines for line in text[1:])
    assert any("cả notebook khoảng" in text[0] and "còn" in text[0] for text in lines), "nothing says how long it takes"
    assert shown[-1] == "Xong 5 lần chạy."
    assert tiny["PACE"]["work"] == 15
    tiny["PACE"].update(seconds=120.0, work=60.0)  # two seconds each, and 15 of them are done, and 75 running
    at_work = {"x": dataclasses.replace(next(iter(tiny["KNOWN"].values())), history={"loss": [0.0] * 75})}
    told = "; cả notebook khoảng 67 phút trên máy này (SEEDS = 1: 33 phút), còn 64 phút"
    assert tiny["time_left"](at_work) == told
    tiny["PACE"].update(work=0.0)
    assert tiny["time_left"](at_work) == "", "nothing is known yet"


def test_a_finished_run_comes_from_the_cache_and_memory_holds_no_weights(tiny, data):
    (first,) = tiny["train"]("x", epochs=2, seeds=1)
    assert all(isinstance(run.kept, Path) for run in [first, *tiny["KNOWN"].values()]), "weights fill the memory"
    trained = tiny["fit"](first.experiment, 0, data)
    tiny.update(KNOWN={}, fit=None)  # a restarted kernel, in which nothing more is trained
    (second,) = tiny["train"]("another name", epochs=2, seeds=1)
    for run in (first, second):
        assert numbers(run) == numbers(trained) and run.metrics == trained.metrics
        assert all(np.array_equal(a, b) for a, b in zip(run.state, trained.state, strict=True))


def test_a_stopped_training_goes_on(tiny, data):
    tiny["MILESTONES"] = set()
    adam = tiny["Adam"](learning_rate=0.01)  # more than ten arrays to a run, in an order of their own
    began, starts, fit = time.perf_counter(), [], tiny["fit"]
    whole = epochs_of(tiny, tiny["Experiment"]("x", epochs=4, optimizer=adam), data)
    assert sum(whole[-1].history["seconds"]) < time.perf_counter() - began, "an epoch has the seconds of others, too"
    tiny["save"](whole[1], tiny["key_of"](whole[1].experiment, 0))
    tiny["fit"] = lambda e, seed, data, start, after: starts.append(start) or fit(e, seed, data, start, after)
    for epochs in (4, 3):  # once the longer one is done, a shorter one may still be asked for
        assert numbers(tiny["train"]("x", epochs=epochs, seeds=1, optimizer=adam)[0]) == numbers(whole[epochs - 1])
    assert starts[0].epochs == 2, "the training did not go on from where it was stopped"
    assert not list(tiny["CACHE"].glob("*-on.npz")), "the epoch before is dropped"


def test_a_stopped_training_serves_as_a_shorter_one(tiny, one):
    """What was left after one epoch of many is no measured training of one epoch."""
    tiny["save"](dataclasses.replace(one, metrics={}), tiny["key_of"](one.experiment, 0))
    assert [path.name[-10:] for path in tiny["CACHE"].iterdir()] == ["001-on.npz"]
    assert tiny["furthest"](one.experiment, 0) is None, "it would never be finished, and trained for ever"
    (run,) = tiny["train"]("x", epochs=1, seeds=1)
    assert numbers(run) == numbers(one) and run.metrics == one.metrics


SPOILT = {  # a file of the cache, from its content and that of another run's
    "cut": lambda whole, other: whole[: len(whole) // 2],
    "empty": lambda whole, other: b"",
    "another run's": lambda whole, other: other,
    "a pickle": lambda whole, other: written(np.savez, about=np.array([{"history": {}}], dtype=object)),
    "no history": lambda whole, other: written(np.savez, about=np.frombuffer(b'{"history": {}}', np.uint8)),
}


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_bad_cache_file_is_said_and_trained_again(tiny, one, capsys, spoil):
    path, other = (tiny["save"](one, key).kept for key in (tiny["key_of"](one.experiment, 0), "0" * 16))
    path.write_bytes(SPOILT[spoil](path.read_bytes(), other.read_bytes()))
    (second,) = tiny["train"]("x", epochs=1, seeds=1)
    assert "tệp hỏng" in capsys.readouterr().out
    assert numbers(one) == numbers(second)


def test_weights_that_vanish_later_are_one_sentence(tiny):
    (run,) = tiny["train"]("x", epochs=1, seeds=1)
    shutil.rmtree(tiny["CACHE"])
    assert "hãy chạy lại notebook từ đầu" in one_sentence(lambda: run.state)
    (run,) = tiny["train"]("y", epochs=1, batch_size=64, seeds=1)
    assert run.metrics and list(tiny["CACHE"].glob("*.npz")), "training goes on, and the folder is made again"


def test_failing_writes_are_said_and_leave_the_last_good_file(tiny, monkeypatch, capsys):
    calls, savez = itertools.count(1), np.savez

    def full(*args, **kwargs):
        if next(calls) > 2:
            Path(args[0]).write_bytes(b"half of it")
            raise OSError(28, "No space left on device")
        savez(*args, **kwargs)

    monkeypatch.setattr(np, "savez", full)
    tiny["MILESTONES"] = set()
    (run,) = tiny["train"]("x", epochs=4, seeds=1)
    assert run.metrics and run.state, "what cannot be written is kept in memory"
    assert "KHÔNG ghi được vào bộ nhớ đệm" in capsys.readouterr().out
    assert [path.name[-10:] for path in tiny["CACHE"].iterdir()] == ["002-on.npz"], "epoch 2 was the last good one"


@pytest.mark.parametrize("asked", ["cache", ""])
def test_where_nothing_can_be_written_training_goes_on(tiny, tmp_path, capsys, asked):
    (tmp_path / "file").touch()
    tiny.update(CACHE=tmp_path / "file" / "cache", CACHE_DIR=asked)
    (run,) = tiny["train"]("x", epochs=1, seeds=1)
    assert run.metrics and run.state
    assert ("KHÔNG ghi được" in capsys.readouterr().out) == bool(asked), "said to who asked for a cache, and only then"


@pytest.mark.parametrize(
    ("activation", "said"), [("sigmoid", "Đã dừng"), ("no such", "no such")], ids=["an interrupt", "an error"]
)
def test_what_ends_one_training_ends_the_other(tiny, activation, said):
    """An interrupt, or what goes wrong in one thread, is said, and nothing trains on behind it."""
    epochs, save, wait = [], tiny["save"], tiny["wait"]

    def interrupted(jobs, timeout, return_when):
        if said == "Đã dừng" and len(epochs) > 4:
            raise KeyboardInterrupt
        return wait(jobs, 0.05, return_when)

    tiny.update(WORKERS=2, wait=interrupted, save=lambda run, *rest: epochs.append(run.epochs) or save(run, *rest))
    good, other = (experiment(tiny, f"epochs=500, activation={text!r}") for text in ("sigmoid", activation))
    with pytest.raises(ValueError, match=said):
        tiny["train_jobs"]([(good, 0), (other, 1)])
    told = len(epochs)
    time.sleep(1)
    assert len(epochs) == told < 500, "the other training went on"


def test_no_gpu_is_used(lab):
    assert lab["tf"].config.get_visible_devices("GPU") == []
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "-1"


def reached(cache: Path) -> dict[str, int]:
    """The furthest epoch that the cache holds of each training; 0 is a file that is being written."""
    found = sorted(path.stem.split("-")[:2] for path in cache.glob("*.npz"))
    return {key: int(epoch) for key, epoch in found if int(epoch)}


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed(fresh, notebook, tmp_path):
    """No epoch is lost or doubled: what a killed kernel left goes on to the numbers of a training never stopped."""
    cells, cache, log = set_up_cells(notebook), fresh["CACHE"], tmp_path / "log"
    count = next(i for i, cell in enumerate(cells) if "def train(" in cell) + 1  # what measures and draws is not needed
    train = 'train("x", seeds=2, batch_size=16, epochs=200)'
    (tmp_path / "lab.py").write_text("\n".join(["from IPython.display import display", *cells[:count], train]), "utf-8")
    settings = os.environ | {"BTH2_CACHE_DIR": str(cache), "BTH2_WORKERS": "2", "BTH2_SEEDS": "2"}
    moment = random.SystemRandom().uniform(0, 1.5)  # `random` itself is seeded by Keras
    command = [sys.executable, tmp_path / "lab.py"]
    with open(log, "wb") as file, subprocess.Popen(command, stdout=file, stderr=file, env=settings) as process:
        while len(reached(cache)) < 2 and process.poll() is None:
            time.sleep(0.05)
        time.sleep(moment)
        assert process.poll() is None, f"the kernel ended by itself:\n{log.read_text('utf-8')[-2000:]}"
        process.kill()
    found, said = reached(cache), f"killed {moment} s after the first epochs"
    e = fresh["Experiment"]("x", batch_size=16, epochs=max(found.values()) + 1)
    assert set(found) == {fresh["key_of"](e, seed) for seed in (0, 1)}, "another process names its runs otherwise"
    for run in fresh["train_all"](e, seeds=2)[0]:
        whole = fresh["fit"](e, run.seed, fresh["DATA"]["mnist"])
        assert numbers(run) == numbers(whole), f"seed {run.seed} gives other numbers, {said}"
        assert run.metrics == whole.metrics, said
        epochs = found[fresh["key_of"](e, run.seed)]
        assert run.history["seconds"][:epochs] != whole.history["seconds"][:epochs], f"{run.seed} began anew, {said}"
