"""Training: the same settings give the same numbers, whatever happens on the way, and each setting does what it says."""

import _thread
import concurrent.futures
import dataclasses
import inspect
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT


def numbers(run) -> dict:
    """What must be equal between two trainings: everything but the seconds."""
    return {key: values for key, values in run.history.items() if key != "seconds"}


@pytest.fixture(autouse=True)
def one_update_a_call(lab, monkeypatch):
    """Much faster to prepare than 50, as the notebook and the fixture `two` have it; the digits must be the same."""
    monkeypatch.setitem(lab, "STEPS", 1)


@pytest.fixture
def fresh(lab, monkeypatch, tmp_path):
    """The set-up with nothing trained yet, an empty cache, and one training after the other."""
    empty = {"KNOWN": {}, "RUNS": {}, "DONE": {}, "PACE": {"seconds": 0.0, "work": 0.0}}
    for name, value in {**empty, "WORKERS": 1, "CACHE": tmp_path / "cache", "CACHE_DIR": "cache"}.items():
        monkeypatch.setitem(lab, name, value)
    return lab


def tiny_data(lab):
    """40, 16 and 24 images of 12 pixels: enough where only what is kept and said matters."""
    rng, counts = np.random.default_rng(0), {"train": 40, "dev": 16, "test": 24}
    x = {part: rng.integers(0, 4, (n, 12), dtype=np.uint8) for part, n in counts.items()}
    labels = {part: rng.integers(0, 10, n) for part, n in counts.items()}
    return lab["Data"]("mnist", "test", False, x, labels, "checksum")


@pytest.fixture
def tiny(fresh, monkeypatch):
    """The set-up with nothing trained yet, on tiny data: a training takes half a second."""
    data = tiny_data(fresh)
    monkeypatch.setitem(fresh, "prepare", lambda name: data)
    return fresh


@pytest.fixture(scope="module")
def one(lab):
    """One epoch on the tiny data, for tests that need some finished run."""
    return lab["fit"](lab["Experiment"]("x", epochs=1), 0, tiny_data(lab))


@pytest.fixture(scope="module")
def two(lab):
    """Two epochs of the network of Mục 3."""
    return lab["fit"](lab["Experiment"]("x", epochs=2), 0, lab["DATA"]["mnist"])


def again(lab):
    """Forget the session's runs, as a restarted kernel does."""
    lab["KNOWN"].clear()
    return lab


def small(lab, n=64):
    """A few images, of which dev and test are other ones."""
    data = lab["DATA"]["mnist"]
    x, labels = ({part: values[:n] for part, values in parts.items()} for parts in (data.x, data.labels))
    return dataclasses.replace(data, x=x, labels=labels)


def epochs_of(lab, e, seed=0, data=None, start=None) -> list:
    """Every Run that a training leaves, one an epoch."""
    seen = []
    lab["fit"](e, seed, data or small(lab), start, seen.append)
    return seen


def test_the_assignments_own_loop_gives_the_same_digits(lab, two):
    """compile and fit as the assignment writes them, on the images in the same order."""
    keras, data = lab["keras"], lab["DATA"]["mnist"]
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((784,)), keras.layers.Dense(784, activation="relu"), keras.layers.Dense(10, activation="sigmoid")]
    )
    loss = keras.losses.BinaryCrossentropy()
    model.compile(loss=loss, optimizer=keras.optimizers.SGD(learning_rate=0.01), metrics=["accuracy"])
    y = {part: keras.utils.to_categorical(labels, 10) for part, labels in data.labels.items()}
    for epoch in range(2):
        order = np.random.default_rng([0, epoch]).permutation(len(data.x["train"]))
        history = model.fit(
            data.x["train"][order], y["train"][order], validation_data=(data.x["dev"], y["dev"]),
            batch_size=128, shuffle=False, verbose=0,
        ).history  # fmt: skip
        for key, (value,) in history.items():
            assert value == two.history[key][epoch], f"{key} differs in epoch {epoch + 1}"


# Each setting does what it says


def test_the_measured_part_is_the_named_part(lab, two):
    W1, b1, W2, b2 = two.state[:4]
    data = lab["DATA"]["mnist"]
    for part in ("train", "dev", "test"):
        x, labels = data.x[part], data.labels[part]
        z = np.maximum(x.astype(np.float64) @ W1 + b1, 0) @ W2 + b2
        accuracy = np.mean((1 / (1 + np.exp(-np.clip(z, -500, 500)))).argmax(axis=1) == labels)
        assert two.metrics[part]["accuracy"] == pytest.approx(accuracy, abs=5e-3), f"{part} is not what was measured"
        y = np.eye(10)[labels]
        loss = np.mean(np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z))))
        assert two.metrics[part]["data_loss"] == pytest.approx(loss, rel=1e-3), f"the loss of {part}"
    assert two.history["val_accuracy"][-1] == pytest.approx(two.metrics["dev"]["accuracy"], abs=1e-6)
    assert len(set(map(len, data.x.values()))) == 3, "the parts need different sizes for this test to tell them apart"


FORMULAS = {  # the second update with the gradients g (first) and h (second), for the learning rate 1
    "SGD": lambda g, h: -h,
    "Momentum": lambda g, h: 0.9 * -g - h,
    "RMSprop": lambda g, h: -h / np.sqrt(0.9 * 0.1 * g**2 + 0.1 * h**2 + 1e-7),
    "Adam": lambda g, h: (
        -((0.9 * 0.1 * g + 0.1 * h) / (1 - 0.9**2))
        / (np.sqrt((0.999 * 0.001 * g**2 + 0.001 * h**2) / (1 - 0.999**2)) + 1e-7)
    ),
    "Adagrad": lambda g, h: -h / np.sqrt(0.1 + g**2 + h**2 + 1e-7),
}  # fmt: skip


@pytest.mark.parametrize("rate", [0.1, 0.00003])
@pytest.mark.parametrize("name", FORMULAS)
def test_optimizers_by_their_formulas(lab, name, rate):
    """In the model that is trained: nothing of an optimizer, as momentum or a small rate, is lost on the way there."""
    kind, more = {"Momentum": ("SGD", {"momentum": 0.9})}.get(name, (name, {}))
    model = lab["build_model"](lab["Experiment"]("x", optimizer=lab[kind](learning_rate=rate, **more)), 12, 0)
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    variables, before = model.trainable_variables, 0
    for step in (g := 0.3, h := -4.0):
        before = model.get_weights()[0][0, 0]
        model.optimizer.apply([lab["tf"].fill(v.shape, step) for v in variables], variables)
    assert model.get_weights()[0][0, 0] - before == pytest.approx(rate * FORMULAS[name](g, h), rel=1e-3)


LOSSES = {
    "BinaryCrossentropy": lambda y, p: -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)),
    "CategoricalCrossentropy": lambda y, p: -np.mean(np.sum(y * np.log(p), axis=1)),
    "SparseCategoricalCrossentropy": lambda y, p: -np.mean(np.sum(y * np.log(p), axis=1)),
    "MeanSquaredError": lambda y, p: np.mean((y - p) ** 2),
    "MeanAbsoluteError": lambda y, p: np.mean(np.abs(y - p)),
    "CosineSimilarity": lambda y, p: -np.mean(np.sum(y * p, axis=1) / np.linalg.norm(p, axis=1)),
    "Hinge": lambda y, p: np.mean(np.maximum(1 - (2 * y - 1) * p, 0)),
    "CategoricalHinge": lambda y, p: np.mean(np.maximum(np.max((1 - y) * p, axis=1) - np.sum(y * p, axis=1) + 1, 0)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_by_their_formulas_and_without_the_penalty(lab, name):
    crossentropy = "softmax" if "Categorical" in name else "sigmoid"
    penalties = {"kernel_regularizer": lab["L2"](0.01), "bias_regularizer": lab["L1"](0.5)}
    settings = {"activation": crossentropy if "Crossentropy" in name else "linear", "bias_initializer": lab["Ones"]()}
    loss = getattr(lab["keras"].losses, name)()
    e, data = lab["Experiment"]("x", loss=loss, rescaling=1 / 255, **penalties, **settings), small(lab)
    model = lab["build_model"](e, 784, 0)
    metrics = lab["measure"](model, e, data)["dev"]
    p, y = model(data.x["dev"]).numpy().astype(np.float64), np.eye(10)[data.labels["dev"]]
    assert metrics["data_loss"] == pytest.approx(LOSSES[name](y, p), rel=1e-4)
    W1, b1, W2, b2 = model.get_weights()
    penalty = 0.01 * (np.sum(W1**2) + np.sum(W2**2)) + 0.5 * (len(b1) + len(b2))
    assert metrics["loss"] == pytest.approx(metrics["data_loss"] + penalty, rel=1e-4)


def test_batch_size_counts_the_updates(tiny):
    for size, updates in ((8, 5), (40, 1), (16, 3)):
        run = tiny["fit"](tiny["Experiment"]("x", batch_size=size, epochs=1), 0, tiny_data(tiny))
        assert int(run.state[4]) == updates, f"batch size {size} made {run.state[4]} updates of 40 images"


def test_initializers_reach_w_and_b(lab):
    e = lab["Experiment"]("x", kernel_initializer=lab["Ones"](), bias_initializer=lab["RandomNormal"]())
    W1, b1, W2, b2 = lab["build_model"](e, 12, 0).get_weights()
    assert (W1 == 1).all() and (W2 == 1).all(), "kernel_initializer does not reach both layers"
    assert b1.std() > 0 and b2.std() > 0, "bias_initializer does not reach both layers"
    assert not np.isin(b2, b1).any(), "one initializer object in two layers gives both the same numbers"
    e = lab["Experiment"]("x", hidden=(784, 20), first_kernel_initializer=lab["Ones"]())
    kernels = lab["build_model"](e, 12, 0).get_weights()[::2]
    assert [W.std() > 0 for W in kernels] == [False, True, True], "first_kernel_initializer is of the first layer alone"


def test_rescaling_divides_the_input(lab):
    x = lab["DATA"]["mnist"].x["dev"][:3]
    plain, scaled = (lab["build_model"](lab["Experiment"]("x", rescaling=r), 784, 0) for r in (None, 1 / 255))
    assert np.allclose(plain(x / np.float32(255)), scaled(x), atol=1e-6)


def test_dead_and_distinct_units(lab):
    data = small(lab)
    e = lab["Experiment"]("x", epochs=2, optimizer=lab["SGD"](learning_rate=1.0))  # kills some units in each epoch
    for epoch, run in enumerate(runs := epochs_of(lab, e)):
        W1, b1 = run.state[:2]
        shares = [np.mean(((data.x[part] @ W1 + b1) <= 0).all(0)) for part in ("dev", "train")]
        assert run.history["dead"][epoch] == pytest.approx(shares[0]), f"dead units on dev after epoch {epoch + 1}"
        assert 0 < shares[0] != shares[1], "these data cannot tell dev from train"
    assert runs[-1].metrics["hidden"]["near_zero"] == pytest.approx(np.mean(np.abs(W1) < 1e-3))
    model = lab["build_model"](e, 784, 0)
    W1, b1, W2, b2 = model.get_weights()
    W1[:, :392] = 0
    model.set_weights([W1, b1, W2, b2])
    assert lab["measure"](model, e, data)["hidden"] == {"distinct": 393, "near_zero": np.mean(np.abs(W1) < 1e-3)}


def test_norms_are_of_the_kernels_in_order(lab):
    BatchNormalization = lab["keras"].layers.BatchNormalization
    e = lab["Experiment"]("x", hidden=(30, BatchNormalization(), 20), epochs=2)
    for epoch, run in enumerate(epochs_of(lab, e)):
        kernels = [w for w in run.state if w.shape in ((784, 30), (30, 20), (20, 10))][:3]
        for i, kernel in enumerate(kernels, start=1):
            assert run.history[f"norm_{i}"][epoch] == pytest.approx(np.linalg.norm(kernel), rel=1e-5), f"‖W_{i}‖"
    assert "norm_4" not in run.history, "what is no kernel has a norm"


def test_the_seed_changes_order_and_weights_and_nothing_else(lab, monkeypatch):
    held, batches = [], lab["batches"]
    monkeypatch.setitem(lab, "batches", lambda x, y, n, order=None: held.append(order) or batches(x, y, n, order))
    e, data, found = lab["Experiment"]("x", epochs=2), small(lab), []
    for seed in (0, 0, 1):
        held.clear()
        orders = []
        run = lab["fit"](e, seed, data, after_epoch=lambda run, orders=orders: orders.append(held[0].numpy().tolist()))
        found.append((orders, numbers(run), lab["build_model"](e, 784, seed).get_weights()[0].tolist()))
        assert orders[0] != orders[1], "two epochs have one order"
        assert all(sorted(order) == list(range(64)) for order in orders), "images got lost"
    assert found[0] == found[1], "the same seed gives something else"
    for first, other, what in zip(found[0], found[2], ("order", "numbers", "weights"), strict=True):
        assert first != other, f"the {what} ignore the seed"


def test_a_milestone_is_measured_at_its_own_epoch(lab, monkeypatch):
    e, two_epochs = lab["Experiment"]("x", epochs=4), lab["Experiment"]("x", epochs=2)
    monkeypatch.setitem(lab, "MILESTONES", set())
    short = lab["fit"](two_epochs, 0, small(lab))
    monkeypatch.setitem(lab, "MILESTONES", {2})
    runs = epochs_of(lab, e)
    assert [run.epochs for run in runs if run.metrics] == [2, 4]
    assert runs[1].metrics == short.metrics and numbers(runs[1]) == numbers(short)
    assert runs[1].metrics["train"]["loss"] != runs[3].metrics["train"]["loss"]


# Whatever Keras has goes in, with the same digits twice


def deep(keras) -> dict[str, dict]:
    """Settings with layers of every kind, some of them random, and with names in place of objects."""
    layers = keras.layers
    pictures = layers.Reshape((3, 4, 1)), layers.Conv2D(3, 2, use_bias=False), layers.Flatten()
    own = layers.Dense(16, "relu", kernel_initializer="he_normal")
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    return {
        "nested": {
            "hidden": (layers.Dropout(0.3), layers.Dense(16), layers.BatchNormalization(), 12),
            "optimizer": keras.optimizers.SGD(learning_rate=schedule),
        },
        "pictures": {"hidden": (*pictures, 8, layers.Dropout(0.5)), "optimizer": "nadam"},
        "noise": {"hidden": (layers.GaussianNoise(0.5), own, layers.LayerNormalization(), layers.PReLU())},
        "names": {"kernel_initializer": "he_uniform", "bias_initializer": "random_normal", "kernel_regularizer": "l2"},
    }


def test_what_keras_can_express_gives_the_same_digits_twice(tiny, monkeypatch):
    """Many jobs on two workers, whose threads draw and name layers at the same time, against one after the other."""
    tiny["keras"].layers.Dense(1), tiny["keras"].layers.Dense(1)  # names that a worker's own layers may get as well
    experiments = [tiny["Experiment"](name, epochs=2, **e) for name, e in deep(tiny["keras"]).items()]
    monkeypatch.setitem(tiny, "WORKERS", 2)
    keys = [tiny["key_of"](e, 0) for e in experiments]
    runs = tiny["train_jobs"]([(e, seed) for e in experiments for seed in (0, 1)])
    assert len({str(numbers(run)) for run in runs}) == len(runs), "a layer, or the seed, changes nothing"
    for e, run in zip(experiments, runs[::2], strict=True):
        first = epochs_of(tiny, dataclasses.replace(e, epochs=1), 0, tiny_data(tiny))[0]
        resumed = epochs_of(tiny, e, 0, tiny_data(tiny), start=first)[0]
        assert numbers(resumed) == numbers(run), f"{e.name}: other digits for the same seed"
        assert np.isfinite(tiny["first_update"](e)["loss"]), f"{e.name}: no first update"
    assert [tiny["key_of"](e, 0) for e in experiments] == keys, "training changes a key"


def test_initial_weights_and_dropout_depend_on_the_seed_alone(lab):
    """Other threads draw from the global state while a model is built; Keras's own draws do too."""
    e = lab["Experiment"]("x", hidden=(784, lab["keras"].layers.Dropout(0.5)))
    random.seed(1)
    before = random.getstate()
    first = lab["build_model"](e, 12, 0)
    assert random.getstate() == before, "a model that is built draws from the state that all threads share"
    random.seed(2)
    for a, b in zip(lab["state_of"](first), lab["state_of"](lab["build_model"](e, 12, 0)), strict=True):
        assert np.array_equal(a.numpy(), b.numpy()), f"{a.path} follows from another seed"


# Identity


def test_the_key_knows_every_setting(lab, monkeypatch):
    keras, e = lab["keras"], lab["Experiment"]
    changed = {  # values other than the default for every field
        "dataset": ["cifar10"],
        "rescaling": [0.5, 1 / 255],
        "hidden": [(784, 784), (784, keras.layers.Dropout(0.5)), (784, keras.layers.Dropout(0.2)), (128,)],
        "kernel_initializer": [lab["Ones"](), lab["RandomNormal"](), lab["RandomNormal"](stddev=0.003)],
        "first_kernel_initializer": [lab["Ones"]()],
        "bias_initializer": [lab["Ones"]()],
        "kernel_regularizer": [lab["L2"](0.01), lab["L2"](0.001), lab["L1"](0.01)],
        "bias_regularizer": [lab["L2"](0.01)],
        "activation": ["softmax"],
        "loss": [keras.losses.MeanSquaredError()],
        "optimizer": [
            lab["Adam"](),
            *(lab["SGD"](learning_rate=r, momentum=m) for r in (3e-5, 4e-5) for m in (0.0, 0.9)),
        ],
        "batch_size": [8],
    }
    names = {f.name for f in dataclasses.fields(e)} - {"name", "epochs"}
    assert names == set(changed), "a field of Experiment has no changed value in this test"
    others = [e("x", **{name: value}) for name, values in changed.items() for value in values]
    half = (784, keras.layers.Dense(8, dtype="float64")), (784, keras.layers.Dense(8))
    keys = [lab["key_of"](e("x"), 1)]
    keys += [lab["key_of"](other, 0) for other in (e("x"), *others, *(e("x", hidden=hidden) for hidden in half))]
    prepare = lab["prepare"]
    monkeypatch.setitem(lab, "prepare", lambda name: dataclasses.replace(prepare(name), sha256="of other data"))
    keys.append(lab["key_of"](e("x"), 0))
    assert len(set(keys)) == len(keys), "two different trainings have one key"
    assert lab["key_of"](e("a", epochs=1), 0) == lab["key_of"](e("b", epochs=9), 0) == keys[-1]


def test_an_edit_of_the_code_that_trains_changes_the_key_and_of_its_comments_does_not(lab, monkeypatch):
    e, recipe, bare = lab["Experiment"]("x"), lab["RECIPE"], lab["bare"]
    before = lab["key_of"](e, 0)
    for i in range(len(recipe)):
        monkeypatch.setitem(lab, "RECIPE", [*recipe[:i], "edited", *recipe[i + 1 :]])
        assert lab["key_of"](e, 0) != before, f"an edit would leave old runs in the cache: {recipe[i]}"
    assert recipe == [*map(bare, lab["FUNCTIONS"]), sorted(lab["MILESTONES"]), lab["keras"].__version__, recipe[-1]]
    assert recipe[-1] == lab["tf"].__version__
    for function in lab["FUNCTIONS"]:
        whole, source = bare(function), inspect.getsource(function)
        edits = {"comment": (source + "    # edited\n", True), "code": (source + "    pass\n", False)}
        if function.__doc__:
            edits["docstring"] = source.replace(function.__doc__, "Edited."), True
        for kind, (edited, same) in edits.items():
            monkeypatch.setattr(inspect, "getsource", lambda _, edited=edited: edited)
            assert (bare(function) == whole) == same, f"an edited {kind} of {function.__name__}"
            monkeypatch.undo()


def test_the_recipe_has_every_function_that_training_calls(lab):
    def called(code) -> set[str]:
        inner = (part for part in code.co_consts if isinstance(part, types.CodeType))
        return set(code.co_names).union(*map(called, inner))

    known = {function.__name__ for function in lab["FUNCTIONS"]}
    for name in known:
        ours = {n for n in called(lab[name].__code__) if isinstance(lab.get(n), types.FunctionType)}
        ours = {n for n in ours if lab[n].__globals__ is lab}
        assert ours <= known, f"{name} calls {ours - known}: an edit there would leave old runs in the cache"
    assert {"build_model", "fit", "measure", "state_of"} <= known


def test_side_by_side_gives_the_numbers_of_one_after_the_other(fresh, monkeypatch, two):
    monkeypatch.setitem(fresh, "WORKERS", 2)
    parallel = fresh["train"]("x", seeds=2, epochs=2)
    assert numbers(parallel[0]) == numbers(two)
    other = fresh["fit"](fresh["Experiment"]("x", epochs=2), 1, fresh["DATA"]["mnist"])
    assert numbers(parallel[1]) == numbers(other), "seed 1"


def test_a_longer_training_serves_the_shorter_ones(fresh, two, monkeypatch):
    e = fresh["Experiment"]
    one, four, same = fresh["train_all"](e("a", epochs=1), e("b", epochs=4), e("c", epochs=2))
    assert numbers(same[0]) == numbers(two)
    assert same[0].metrics == two.metrics, "measured on the way as at the end"
    assert numbers(four[0])["loss"][:1] == one[0].history["loss"]
    monkeypatch.setitem(fresh, "fit", None)  # nothing is trained any more: epoch 3 was measured on the way to 4
    assert fresh["train"]("d", epochs=3)[0].epochs == 3


def test_seeds_are_as_many_as_asked_but_at_most_SEEDS(tiny, monkeypatch):
    empty = lambda jobs: [tiny["Run"](e, seed, {"loss": [1.0]}, {}, []) for e, seed in jobs]
    for name, value in {"SEED": 7, "train_jobs": empty}.items():
        monkeypatch.setitem(tiny, name, value)
    for most, asked, given in ((5, 3, [7, 8, 9]), (2, 3, [7, 8]), (1, 5, [7]), (5, 1, [7])):
        monkeypatch.setitem(tiny, "SEEDS", most)
        assert [run.seed for run in tiny["train"]("x", seeds=asked)] == given


def test_divergence_ends_that_run_only(fresh):
    loss = fresh["keras"].losses.MeanSquaredError()
    e = fresh["Experiment"]
    bad, good = fresh["train_all"](e("bad", loss=loss, activation="linear", epochs=4), e("x", epochs=1))
    assert bad[0].diverged and bad[0].epochs < 4
    assert "phân kỳ" in fresh["describe"](bad[0])
    assert not good[0].diverged
    again(fresh)
    known = fresh["furthest"](bad[0].experiment, 0)
    assert fresh["finished"](known) and known.epochs == bad[0].epochs, "a run that diverged is trained again and again"


def test_the_line_of_progress_has_what_runs_and_the_time_left(tiny, monkeypatch):
    """At most WORKERS trainings and one line of what is done; the time of the whole notebook from the pace so far."""
    shown, wait = [], concurrent.futures.wait
    monkeypatch.setitem(tiny, "progress", lambda text, line=None: shown.append(text))
    monkeypatch.setitem(tiny, "wait", lambda jobs, timeout, return_when: wait(jobs, 0.02, return_when))
    monkeypatch.setitem(tiny, "WHOLE_WORK", {1: 1000, tiny["SEEDS"]: 2000})
    monkeypatch.setitem(tiny, "work_of", lambda e: 1.0)
    monkeypatch.setitem(tiny, "WORKERS", 2)
    tiny["train_jobs"]([(tiny["Experiment"](f"name {i}", epochs=3, batch_size=8 + i), 0) for i in range(5)])
    lines = [text.split("\n") for text in shown]
    assert max(map(len, lines)) == 3, "two trainings run at most, and one line says what is done"
    assert all(line.startswith("name ") and "/3 [" in line for text in lines for line in text[1:])
    assert {name for text in lines for name in (f"name {i}" for i in range(5)) if name in str(text)}, "no name is shown"
    assert any("cả notebook khoảng" in text[0] and "còn" in text[0] for text in lines), "nothing says how long it takes"
    assert shown[-1] == "Xong 5 lần chạy."
    assert tiny["PACE"]["work"] == 15 and sorted(tiny["DONE"].values()) == [(1.0, 3)] * 5
    tiny["PACE"].update(seconds=120.0, work=60.0)  # two seconds each
    assert tiny["time_left"]() == "; cả notebook khoảng 67 phút trên máy này (SEEDS = 1: 33 phút), còn 66 phút"
    tiny["PACE"].update(work=0.0)
    assert tiny["time_left"]() == "", "nothing is known yet"


# The cache


def test_a_finished_run_comes_from_the_cache_and_memory_holds_no_weights(tiny):
    (first,) = tiny["train"]("x", epochs=2)
    assert all(isinstance(run.kept, Path) for run in [first, *tiny["KNOWN"].values()]), "weights fill the memory"
    (second,) = again(tiny)["train"]("another name", epochs=2)
    assert first.history == second.history and first.metrics == second.metrics
    trained = tiny["fit"](first.experiment, 0, tiny_data(tiny))
    for run in (first, second):
        assert all(np.array_equal(a, b) for a, b in zip(run.state, trained.state, strict=True))
    with np.load(next(tiny["CACHE"].glob("*.npz")), allow_pickle=False) as file:
        assert "about" in file.files, "a cache file holds data only"


def test_a_stopped_training_goes_on(tiny, monkeypatch):
    monkeypatch.setitem(tiny, "MILESTONES", set())
    whole = epochs_of(tiny, tiny["Experiment"]("x", epochs=4), data=tiny_data(tiny))
    tiny["save"](dataclasses.replace(whole[1], metrics={}), tiny["key_of"](whole[1].experiment, 0))
    seen, fit = [], tiny["fit"]
    monkeypatch.setitem(
        tiny, "fit", lambda e, k, data, start, after: seen.append(start) or fit(e, k, data, start, after)
    )
    for epochs in (4, 3):  # once the longer one is done, a shorter one may still be asked for
        assert numbers(tiny["train"]("x", epochs=epochs)[0]) == numbers(whole[epochs - 1])
    assert seen[0].epochs == 2, "the training did not go on from where it was stopped"
    assert not list(tiny["CACHE"].glob("*-on.npz")), "the epoch before is dropped"


def test_a_stopped_training_serves_as_a_shorter_one(tiny, one):
    """What was left after one epoch of many is no measured training of one epoch."""
    tiny["save"](dataclasses.replace(one, metrics={}), tiny["key_of"](one.experiment, 0))
    assert [path.name[-10:] for path in tiny["CACHE"].iterdir()] == ["001-on.npz"]
    (run,) = tiny["train"]("x", epochs=1)
    assert numbers(run) == numbers(one)
    assert run.metrics == one.metrics


@pytest.mark.parametrize("spoil", ["cut", "foreign", "empty", "pickle", "no history", "another run's"])
def test_a_bad_cache_file_is_said_and_trained_again(tiny, one, capsys, spoil):
    tiny["save"](one, tiny["key_of"](one.experiment, 0))
    (path,) = tiny["CACHE"].glob("*.npz")
    whole = path.read_bytes()
    if spoil == "another run's":
        tiny["save"](one, "0" * 16)
        path.write_bytes((tiny["CACHE"] / f"{'0' * 16}-001.npz").read_bytes())
    elif spoil == "pickle":
        np.savez(path, about=np.array([{"history": {}}], dtype=object))
    elif spoil == "no history":
        np.savez(path, about=np.frombuffer(b'{"history": {}}', np.uint8))
    else:
        path.write_bytes({"cut": whole[: len(whole) // 2], "foreign": b"%PDF-1.7 not ours", "empty": b""}[spoil])
    (second,) = tiny["train"]("x", epochs=1)
    assert "tệp hỏng" in capsys.readouterr().out
    assert numbers(one) == numbers(second)


def test_weights_that_vanish_later_are_one_sentence(tiny):
    (run,) = tiny["train"]("x", epochs=1)
    shutil.rmtree(tiny["CACHE"])
    with pytest.raises(tiny["UserError"], match="hãy chạy lại notebook từ đầu"):
        _ = run.state
    (run,) = tiny["train"]("y", epochs=1, batch_size=64)
    assert run.metrics and list(tiny["CACHE"].glob("*.npz")), "training goes on, and the folder is made again"


def test_failing_writes_are_said_and_leave_the_last_good_file(tiny, monkeypatch, capsys):
    calls, savez = [], np.savez

    def full(*args, **kwargs):
        calls.append(1)
        if len(calls) > 2:
            raise OSError(28, "No space left on device")
        savez(*args, **kwargs)

    monkeypatch.setattr(np, "savez", full)
    monkeypatch.setitem(tiny, "MILESTONES", set())
    (run,) = tiny["train"]("x", epochs=4)
    assert run.metrics and run.state, "what cannot be written is kept in memory"
    assert "KHÔNG ghi được vào bộ nhớ đệm" in capsys.readouterr().out
    assert [path.name[-10:] for path in tiny["CACHE"].iterdir()] == ["002-on.npz"], "epoch 2 was the last good one"


@pytest.mark.parametrize("asked", [True, False])
def test_where_nothing_can_be_written_training_goes_on(tiny, monkeypatch, tmp_path, capsys, asked):
    (tmp_path / "file").touch()
    monkeypatch.setitem(tiny, "CACHE", tmp_path / "file" / "cache")
    monkeypatch.setitem(tiny, "CACHE_DIR", "cache" if asked else "")
    (run,) = tiny["train"]("x", epochs=1)
    assert run.metrics and run.state
    assert ("KHÔNG ghi được" in capsys.readouterr().out) == asked, "said to who asked for a cache, and only then"


# Interrupts, failures, kills


def training_goes_on(seen: list) -> int:
    """How many epochs are trained in the next second."""
    told = len(seen)
    time.sleep(1)
    return len(seen) - told


def test_an_interrupt_is_one_sentence_and_ends_the_trainings(tiny, monkeypatch):
    """The interrupt reaches the main thread while two trainings run; each ends with its epoch."""
    seen, save, sent = [], tiny["save"], [0.0]

    def interrupting(run, *rest):
        seen.append(run.epochs)
        if len(seen) >= 5 and time.monotonic() - sent[0] > 5:  # again, should one fall into code that swallows it
            sent[0] = time.monotonic()
            _thread.interrupt_main()
            time.sleep(0.3)  # the main thread has seen it before this epoch is over
        return save(run, *rest)

    monkeypatch.setitem(tiny, "WORKERS", 2)
    monkeypatch.setitem(tiny, "save", interrupting)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # `make test &` starts with SIGINT ignored
    try:
        with pytest.raises(tiny["UserError"], match="Đã dừng") as caught:
            tiny["train"]("x", seeds=2, epochs=1000)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert len(caught.value._render_traceback_()) == 1
    assert training_goes_on(seen) <= 2, "the trainings went on after the interrupt"


def test_one_failing_training_ends_the_others(tiny, monkeypatch):
    """What goes wrong in one thread is raised, and nothing trains on behind it."""
    seen, save = [], tiny["save"]
    monkeypatch.setitem(tiny, "WORKERS", 2)
    monkeypatch.setitem(tiny, "save", lambda run, *rest: seen.append(run.epochs) or save(run, *rest))
    good, bad = tiny["Experiment"]("x", epochs=10_000), tiny["Experiment"]("bad", activation="no such thing", epochs=5)
    with pytest.raises(ValueError, match="no such thing"):
        tiny["train_jobs"]([(good, 0), (bad, 0)])
    assert training_goes_on(seen) <= 1, "the other training went on"


def test_no_gpu_is_used(lab):
    assert lab["tf"].config.get_visible_devices("GPU") == []
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "-1"


SCRIPT = """
import os, sys
sys.path.insert(0, "tests")
import nbformat
from conftest import NOTEBOOK, set_up_cells
from IPython.core.interactiveshell import InteractiveShell
os.environ["BTH2_CACHE_DIR"], os.environ["BTH2_WORKERS"] = sys.argv[1], "2"
shell = InteractiveShell.instance()
lab = shell.user_ns
for source in set_up_cells(nbformat.read(NOTEBOOK, as_version=4)):
    if "train" not in lab:  # what measures and draws is not needed
        shell.run_cell(source, False).raise_error()
lab["train"]("x", seeds=2, batch_size=16, epochs=10_000)
"""


def reached(cache: Path) -> dict[str, int]:
    """The furthest epoch that the cache holds of each training."""
    found = {}
    for path in cache.glob("*.npz"):
        key, epoch = path.stem.split("-")[:2]
        found[key] = max(found.get(key, 0), int(epoch))
    return {key: epoch for key, epoch in found.items() if epoch}


def kill_a_kernel(cache: Path) -> dict:
    """Start a kernel, kill it some time after both of its trainings have saved an epoch."""
    moment = random.SystemRandom().uniform(0, 1.5)  # `random` itself is seeded by Keras
    log = cache.with_suffix(".log")
    with open(log, "wb") as file:
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(cache)], cwd=ROOT, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + 180
        while len(reached(cache)) < 2:
            assert process.poll() is None, f"the kernel ended by itself:\n{log.read_text('utf-8')[-2000:]}"
            assert time.monotonic() < deadline, "no epoch of both trainings within three minutes"
            time.sleep(0.05)
        time.sleep(moment)
    finally:
        process.kill()
        process.wait(timeout=60)
    return {"cache": cache, "moment": moment}


@pytest.fixture(scope="module", autouse=True)
def killing(request, tmp_path_factory):
    """The kernel to be killed starts with the first test of this file and trains beside the others."""
    with ThreadPoolExecutor(1) as beside:
        wanted = any("killed" in item.name for item in request.session.items)
        yield beside.submit(kill_a_kernel, tmp_path_factory.mktemp("killed") / "cache") if wanted else None


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed(fresh, monkeypatch, killing):
    """No epoch is lost or doubled: what the killed kernel left goes on to the numbers of a training never stopped."""
    killed = killing.result()
    found, said = reached(killed["cache"]), f"killed {killed['moment']} s after the first epochs"
    e = fresh["Experiment"]("x", batch_size=16, epochs=max(found.values()) + 1)
    assert set(found) == {fresh["key_of"](e, seed) for seed in (0, 1)}, "another process names its runs otherwise"
    monkeypatch.setitem(fresh, "CACHE", killed["cache"])
    (resumed,) = fresh["train_all"](e, seeds=2)
    for run in resumed:
        whole = fresh["fit"](e, run.seed, fresh["DATA"]["mnist"])
        assert numbers(run) == numbers(whole), f"seed {run.seed} gives other numbers, {said}"
        assert run.metrics == whole.metrics, said
        epochs = found[fresh["key_of"](e, run.seed)]
        assert run.history["seconds"][:epochs] != whole.history["seconds"][:epochs], f"{run.seed} began anew, {said}"
