"""Training: the same settings give the same numbers, whatever happens on the way, and each setting does what it says."""

import _thread
import dataclasses
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import nbformat
import numpy as np
import pytest
from conftest import NOTEBOOK, ROOT, set_up_cells
from IPython.core.interactiveshell import InteractiveShell


def numbers(run) -> dict:
    """What must be equal between two trainings: everything but the seconds."""
    return {key: values for key, values in run.history.items() if key != "seconds"}


@pytest.fixture
def fresh(lab, monkeypatch):
    """The set-up with nothing trained yet, one training after the other in this process."""
    monkeypatch.setitem(lab, "STORE", {})
    monkeypatch.setitem(lab, "RUNS", [])
    monkeypatch.setitem(lab, "WORKERS", 1)
    return lab


def tiny_data(lab):
    """40, 16 and 24 images of 12 pixels: enough where only what is kept and said matters."""
    rng, counts = np.random.default_rng(0), {"train": 40, "dev": 16, "test": 24}
    x = {part: rng.integers(0, 4, (n, 12), dtype=np.uint8) for part, n in counts.items()}
    labels = {part: rng.integers(0, 10, n) for part, n in counts.items()}
    return lab["Data"]("mnist", "test", False, x, labels, "checksum")


@pytest.fixture
def tiny(fresh, monkeypatch):
    """The set-up with nothing trained yet, on tiny data, one update a call: a training takes half a second."""
    data = tiny_data(fresh)
    monkeypatch.setitem(fresh, "STEPS", 1)
    monkeypatch.setitem(fresh, "prepare", lambda name: data)
    return fresh


@pytest.fixture
def cache(tiny, monkeypatch, tmp_path):
    monkeypatch.setitem(tiny, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def one(lab):
    """One epoch on the tiny data, for tests that need some finished run."""
    return lab["fit"](lab["Experiment"]("x", epochs=1), 0, tiny_data(lab))


def again(lab):
    """Forget the session's runs, as a restarted kernel does."""
    lab["STORE"].clear()
    return lab


@pytest.fixture(scope="module")
def two(lab):
    """Two epochs of the network of Mục 3."""
    return lab["fit"](lab["Experiment"]("x", epochs=2), 0, lab["mnist"])


def small(lab, n=64):
    """A few images, of which dev and test are other ones."""
    data = lab["mnist"]
    return dataclasses.replace(
        data,
        x={part: x[:n] for part, x in data.x.items()},
        labels={part: y[:n] for part, y in data.labels.items()},
    )


# The network is the assignment's


@pytest.mark.parametrize(("pixels", "parameters"), [(784, 623_290), (3072, 2_417_082)])
def test_network(lab, pixels, parameters):
    model = lab["build_model"](lab["Experiment"]("x"), pixels, 0)
    assert [(layer.units, layer.activation.__name__) for layer in model.layers] == [(784, "relu"), (10, "sigmoid")]
    assert model.count_params() == parameters
    assert type(model.loss).__name__ == "BinaryCrossentropy"
    assert (type(model.optimizer).__name__, float(model.optimizer.learning_rate)) == ("SGD", pytest.approx(0.01))


def test_the_assignments_own_loop_gives_the_same_digits(lab, two):
    """compile and fit as the assignment writes them, on the images in the same order."""
    keras, data = lab["keras"], lab["mnist"]
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
    for part in ("train", "dev", "test"):
        x, labels = lab["mnist"].x[part], lab["mnist"].labels[part]
        z = np.maximum(x.astype(np.float64) @ W1 + b1, 0) @ W2 + b2
        accuracy = np.mean((1 / (1 + np.exp(-np.clip(z, -500, 500)))).argmax(axis=1) == labels)
        assert two.metrics[part]["accuracy"] == pytest.approx(accuracy, abs=5e-3), f"{part} is not what was measured"
        y = np.eye(10)[labels]
        loss = np.mean(np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z))))
        assert two.metrics[part]["data_loss"] == pytest.approx(loss, rel=1e-3), f"the loss of {part}"
    sizes = {len(x) for x in lab["mnist"].x.values()}
    assert len(sizes) == 3, "the parts need different sizes for this test to tell them apart"


def test_one_update_of_sgd_with_l2_by_hand(lab):
    """W and b of both layers, with the gradient of BinaryCrossentropy through sigmoid and ReLU."""
    L1, L2 = lab["L1"], lab["L2"]
    e = lab["Experiment"]("x", kernel_regularizer=L2(1.0), bias_regularizer=L1(0.5), batch_size=64, epochs=1)
    data = small(lab)
    model = lab["build_model"](e, 784, 0)
    model.layers[0].bias.assign(np.linspace(-1, 1, 784))
    W1, b1, W2, b2 = (w.astype(np.float64) for w in model.get_weights())
    x, y = data.x["train"].astype(np.float64), np.eye(10)[data.labels["train"]]
    hidden = np.maximum(x @ W1 + b1, 0)
    z = hidden @ W2 + b2
    d = (1 / (1 + np.exp(-z)) - y) / y.size
    dh = (d @ W2.T) * (hidden > 0)
    gradients = [
        x.T @ dh + 2 * W1,
        dh.sum(0) + 0.5 * np.sign(b1),
        hidden.T @ d + 2 * W2,
        d.sum(0) + 0.5 * np.sign(b2),
    ]
    model.fit(lab["batches"](data.x["train"], lab["targets"](e, data.labels["train"]), 64), shuffle=False, verbose=0)
    for before, gradient, after in zip([W1, b1, W2, b2], gradients, model.get_weights(), strict=True):
        assert np.allclose(before - 0.01 * gradient, after, rtol=1e-3, atol=1e-4)


FORMULAS = {  # the second update with the gradients g (first) and h (second), learning rate 0.1
    "SGD": lambda g, h: -0.1 * h,
    "Momentum": lambda g, h: 0.9 * (-0.1 * g) - 0.1 * h,
    "RMSprop": lambda g, h: -0.1 * h / np.sqrt(0.9 * 0.1 * g**2 + 0.1 * h**2 + 1e-7),
    "Adam": lambda g, h: (
        -0.1 * ((0.9 * 0.1 * g + 0.1 * h) / (1 - 0.9**2))
        / (np.sqrt((0.999 * 0.001 * g**2 + 0.001 * h**2) / (1 - 0.999**2)) + 1e-7)
    ),
    "Adagrad": lambda g, h: -0.1 * h / np.sqrt(0.1 + g**2 + h**2 + 1e-7),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMULAS)
def test_optimizers_by_their_formulas(lab, name):
    """fresh() keeps what an optimizer is: learning rate, momentum and all."""
    kind = {"Momentum": "SGD"}.get(name, name)
    given = lab[kind](learning_rate=0.1, **({"momentum": 0.9} if name == "Momentum" else {}))
    optimizer, w = lab["fresh"](given), lab["keras"].Variable([1.0, -2.0])
    optimizer.build([w])
    g, h = np.array([0.3, -4.0]), np.array([-1.0, 0.5])
    optimizer.apply([lab["tf"].constant(g, "float32")])
    before = w.numpy()
    optimizer.apply([lab["tf"].constant(h, "float32")])
    assert np.allclose(w.numpy() - before, FORMULAS[name](g, h), rtol=1e-3)


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
    activation = {"BinaryCrossentropy": "sigmoid"}.get(
        name, "softmax" if "Categorical" in name and "Hinge" not in name else "linear"
    )
    loss = getattr(lab["keras"].losses, name)()
    e = lab["Experiment"]("x", loss=loss, activation=activation, rescaling=1 / 255, kernel_regularizer=lab["L2"](0.01))
    model, data = lab["build_model"](e, 784, 0), small(lab)
    metrics = lab["measure"](model, e, data)
    p, y = model(data.x["dev"]).numpy().astype(np.float64), np.eye(10)[data.labels["dev"]]
    assert metrics["dev"]["data_loss"] == pytest.approx(LOSSES[name](y, p), rel=1e-4)
    penalty = 0.01 * sum(float(np.sum(W**2)) for W in model.get_weights()[::2])
    assert metrics["dev"]["loss"] == pytest.approx(metrics["dev"]["data_loss"] + penalty, rel=1e-4)


def test_batch_size_counts_the_updates(lab, monkeypatch):
    monkeypatch.setitem(lab, "STEPS", 1)
    for size, updates in ((8, 5), (40, 1), (16, 3)):
        run = lab["fit"](lab["Experiment"]("x", batch_size=size, epochs=1), 0, tiny_data(lab))
        assert int(run.state[4]) == updates, f"batch size {size} made {run.state[4]} updates of 40 images"


def test_initializers_reach_w_and_b(lab):
    e = lab["Experiment"]("x", kernel_initializer=lab["Ones"](), bias_initializer=lab["RandomNormal"]())
    W1, b1, W2, b2 = lab["build_model"](e, 12, 0).get_weights()
    assert (W1 == 1).all() and (W2 == 1).all(), "kernel_initializer does not reach both layers"
    assert b1.std() > 0 and b2.std() > 0, "bias_initializer does not reach both layers"
    assert not np.isin(b2, b1).any(), "one initializer object in two layers gives both the same numbers"


def test_rescaling_divides_the_input(lab):
    e = lab["Experiment"]("x", rescaling=1 / 255)
    x = lab["mnist"].x["dev"][:3]
    plain, scaled = (lab["build_model"](lab["Experiment"]("x", rescaling=r), 784, 0) for r in (None, 1 / 255))
    assert np.allclose(plain(x / np.float32(255)), scaled(x), atol=1e-6)
    W1, b1 = scaled.get_weights()[:2]
    assert np.allclose(lab["before_relu"](e, x, W1, b1), x / 255 @ W1 + b1, atol=1e-4)


def test_the_first_updates_by_hand(lab):
    """probe: gradients and updates of W2 and b2 for the first batches, each from the same untrained network."""
    e, data = lab["Experiment"]("x", rescaling=1 / 255, batch_size=32), lab["mnist"]
    W1, b1, W2, b2 = lab["build_model"](e, 784, 0).get_weights()
    order = np.random.default_rng([0, 0]).permutation(len(data.x["train"]))
    for i, step in enumerate(lab["probe"](e, count=2)):
        rows = order[32 * i : 32 * i + 32]
        x, y = data.x["train"][rows] / 255, np.eye(10)[data.labels["train"][rows]]
        before = x @ W1 + b1
        p = 1 / (1 + np.exp(-(np.maximum(before, 0) @ W2 + b2)))
        gradient = np.maximum(before, 0).T @ (p - y) / y.size
        assert np.allclose(step["hidden"], before, atol=1e-3), f"hidden units of batch {i}"
        assert step["loss"] == pytest.approx(LOSSES["BinaryCrossentropy"](y, p), rel=1e-4), f"loss of batch {i}"
        assert np.allclose(step["gradients"][2], gradient, atol=1e-5), f"gradient of W2 in batch {i}"
        assert np.allclose(step["updates"][2], -0.01 * gradient, atol=1e-6), f"update of W2 in batch {i}"


def test_dead_and_distinct_units(lab):
    model, data = lab["build_model"](lab["Experiment"]("x"), 784, 0), small(lab)
    W1, b1, W2, b2 = model.get_weights()
    W1[:, :392], b1[:392] = 0, -1
    model.set_weights([W1, b1, W2, b2])
    hidden = lab["measure"](model, lab["Experiment"]("x"), data)["hidden"]
    alive = ((data.x["dev"] @ W1 + b1) > 0).any(axis=0)
    assert hidden["dead"] == pytest.approx(1 - alive.mean())
    assert hidden["distinct"] == 393
    assert hidden["near_zero"] == pytest.approx(np.mean(np.abs(W1) < 1e-3))


def test_norms_are_those_of_w1_and_w2(two):
    for i, W in ((1, two.state[0]), (2, two.state[2])):
        assert two.history[f"norm_{i}"][-1] == pytest.approx(np.linalg.norm(W), rel=1e-5)


def test_the_seed_changes_order_and_weights_and_nothing_else(lab, monkeypatch):
    seen, original = [], lab["batches"]
    monkeypatch.setitem(lab, "batches", lambda x, y, size: seen.append(x.copy()) or original(x, y, size))
    e, data = lab["Experiment"]("x", epochs=2), small(lab)
    weights = []
    for seed in (0, 0, 1):
        seen.clear()
        run = lab["fit"](e, seed, data)
        orders = [x for x in seen if x.shape == data.x["train"].shape and not np.array_equal(x, data.x["dev"])][:2]
        weights.append((orders, run))
        assert not np.array_equal(*orders), "two epochs have one order"
        for order in orders:
            assert np.array_equal(np.sort(order.sum(axis=1)), np.sort(data.x["train"].sum(axis=1))), "images got lost"
    (a, first), (b, second), (c, third) = weights
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True)) and numbers(first) == numbers(second)
    assert not np.array_equal(a[0], c[0]), "the order ignores the seed"
    assert numbers(first) != numbers(third)
    initial = [lab["build_model"](e, 784, seed).get_weights()[0] for seed in (0, 1)]
    assert not np.array_equal(*initial), "the weights ignore the seed"


# Extensions: one line for the next lab


def test_what_keras_can_express_goes_in(tiny, one):
    keras = tiny["keras"]
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    for change in (
        {"optimizer": tiny["SGD"](learning_rate=schedule)},
        {"extra_layers": (keras.layers.Dropout(0.5),)},
        {"extra_layers": (keras.layers.Dense(20, activation="relu"),)},
    ):
        (run,) = tiny["train"]("x", epochs=1, **change)
        assert run.epochs == 1 and np.isfinite(run.history["loss"][0])
        assert run.history["val_loss"] != one.history["val_loss"], f"{change} changes nothing"
    with pytest.raises(TypeError, match="kernel_regulariser"):
        tiny["train"]("x", kernel_regulariser=None)


def test_another_data_set_of_keras_goes_in(fresh, monkeypatch):
    arrays = fresh["stand_in"]((28, 28))
    monkeypatch.setitem(fresh, "load", lambda name: (arrays, name, True))
    (run,) = fresh["train"]("x", dataset="fashion_mnist", epochs=1)
    assert run.epochs == 1


def test_dropout_resumes_where_it_stood(lab):
    e = lab["Experiment"]("x", epochs=4, extra_layers=(lab["keras"].layers.Dropout(0.5),))
    data, half = small(lab), []
    whole = lab["fit"](e, 0, data, after_epoch=lambda run: half.append(run))
    assert numbers(lab["fit"](e, 0, data, start=half[1])) == numbers(whole)


@pytest.mark.parametrize("name", ["Adam", "RMSprop"])
def test_optimizers_resume_with_their_state(lab, name):
    e, data, half = lab["Experiment"]("x", epochs=3, optimizer=lab[name](learning_rate=0.001)), small(lab), []
    whole = lab["fit"](e, 0, data, after_epoch=lambda run: half.append(run))
    assert numbers(lab["fit"](e, 0, data, start=half[0])) == numbers(whole)


# Identity


CHANGED = {  # a value other than the default for every field
    "dataset": "cifar10",
    "rescaling": 0.5,
    "kernel_initializer": "Ones",
    "bias_initializer": "Ones",
    "kernel_regularizer": "L2",
    "bias_regularizer": "L2",
    "extra_layers": "Dropout",
    "activation": "softmax",
    "loss": "MeanSquaredError",
    "optimizer": "Adam",
    "batch_size": 8,
}


def test_the_key_knows_every_setting(lab):
    keras = lab["keras"]
    made = {"Ones": lab["Ones"](), "L2": lab["L2"](0.01), "Dropout": (keras.layers.Dropout(0.5),)}
    made |= {"MeanSquaredError": keras.losses.MeanSquaredError(), "Adam": lab["Adam"]()}
    keys = {lab["key_of"](lab["Experiment"]("x"), 0), lab["key_of"](lab["Experiment"]("x"), 1)}
    names = {f.name for f in dataclasses.fields(lab["Experiment"])} - {"name", "epochs"}
    assert names == set(CHANGED), "a field of Experiment has no changed value in this test"
    for name, value in CHANGED.items():
        keys.add(
            lab["key_of"](
                lab["Experiment"]("x", **{name: made.get(value, value) if isinstance(value, str) else value}), 0
            )
        )
    assert len(keys) == len(CHANGED) + 2, "two different experiments have one key"
    assert lab["key_of"](lab["Experiment"]("a", epochs=1), 0) == lab["key_of"](lab["Experiment"]("b", epochs=9), 0)
    rates = [lab["key_of"](lab["Experiment"]("x", optimizer=lab["SGD"](learning_rate=r)), 0) for r in (0.01, 0.02)]
    assert rates[0] != rates[1]


def test_an_edit_of_the_code_that_trains_changes_the_key(lab, monkeypatch):
    e, before = lab["Experiment"]("x"), lab["key_of"](lab["Experiment"]("x"), 0)
    for i, edited in enumerate(lab["RECIPE"]):
        recipe = [*lab["RECIPE"][:i], edited + "\npass", *lab["RECIPE"][i + 1 :]]
        monkeypatch.setitem(lab, "RECIPE", recipe)
        assert lab["key_of"](e, 0) != before, f"an edit would leave old runs in the cache: {edited[:40]}"
        monkeypatch.undo()
    for name in ("build_model", "fit", "fresh", "targets", "batches", "measure", "before_relu"):
        assert any(f"def {name}(" in text for text in lab["RECIPE"]), f"an edit of {name} must train everything again"


def test_training_changes_no_key(fresh):
    schedule = fresh["keras"].optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    e = fresh["Experiment"](
        "x", epochs=1, optimizer=fresh["SGD"](learning_rate=schedule), kernel_initializer=fresh["RandomNormal"]()
    )
    before = fresh["key_of"](e, 0)
    fresh["train_all"](e)
    assert fresh["key_of"](e, 0) == before


# Side by side, longer and shorter


def test_side_by_side_gives_the_numbers_of_one_after_the_other(fresh, monkeypatch, two):
    monkeypatch.setitem(fresh, "WORKERS", 2)
    parallel = fresh["train"]("x", seeds=2, epochs=2)
    assert numbers(parallel[0]) == numbers(two)
    assert numbers(parallel[1]) == numbers(fresh["fit"](fresh["Experiment"]("x", epochs=2), 1, fresh["mnist"])), (
        "seed 1"
    )


def test_initial_weights_and_dropout_depend_on_the_seed_alone(lab):
    """Other threads, Dask's among them, draw from the global state while a model is built; Keras's own draws do too."""
    e = lab["Experiment"]("x", extra_layers=(lab["keras"].layers.Dropout(0.5),))
    random.seed(1)
    before = random.getstate()
    first = lab["build_model"](e, 12, 0)
    assert random.getstate() == before, "a model that is built draws from the state that all threads share"
    random.seed(2)
    again = lab["build_model"](e, 12, 0)
    for a, b in zip(lab["state_of"](first), lab["state_of"](again), strict=True):
        assert np.array_equal(a.numpy(), b.numpy()), f"{a.path} follows from another seed"


def test_a_longer_training_serves_the_shorter_ones(fresh, two, monkeypatch):
    e = fresh["Experiment"]
    one, four, same = fresh["train_all"](e("a", epochs=1), e("b", epochs=4), e("c", epochs=2))
    assert numbers(same[0]) == numbers(two)
    assert same[0].metrics == two.metrics, "measured on the way as at the end"
    assert numbers(four[0])["loss"][:1] == one[0].history["loss"]
    monkeypatch.setitem(fresh, "fit", None)  # nothing is trained any more: epoch 3 was measured on the way to 4
    assert fresh["train"]("d", epochs=3)[0].epochs == 3


def test_divergence_ends_that_run_only(fresh):
    loss = fresh["keras"].losses.MeanSquaredError()
    e = fresh["Experiment"]
    bad, good = fresh["train_all"](e("bad", loss=loss, activation="linear", epochs=4), e("x", epochs=1))
    assert bad[0].diverged and bad[0].epochs < 4
    assert "phân kỳ" in fresh["describe"](bad[0])
    assert not good[0].diverged


def test_early_stopping_is_kerass_own(lab):
    """stopping_epoch against a fit that really stops, on the images in the same order."""
    keras = lab["keras"]
    e, data = lab["Experiment"]("x", epochs=6), small(lab)
    run = lab["fit"](e, 0, data)
    run.history["val_loss"] = [0.5, 0.4, 0.45, 0.44, 0.3, 0.2]
    assert lab["stopping_epoch"](run, monitor="val_loss", patience=2) == 4
    run.history["val_accuracy"] = [0.1, 0.2, 0.3, 0.3, 0.4, 0.5]
    assert lab["stopping_epoch"](run, monitor="val_accuracy", patience=2) == 6
    model = lab["build_model"](e, 784, 0)
    callback = keras.callbacks.EarlyStopping(monitor="val_loss", patience=2)
    epochs = len(model.fit(**small_fit(lab, e, data), callbacks=[callback]).history["loss"])
    again = lab["build_model"](e, 784, 0)
    history = again.fit(**small_fit(lab, e, data)).history
    whole = lab["Run"](e, 0, history, {}, [])
    assert lab["stopping_epoch"](whole, monitor="val_loss", patience=2) == epochs


def small_fit(lab, e, data) -> dict:
    train, dev = (lab["batches"](data.x[p], lab["targets"](e, data.labels[p]), 16) for p in ("train", "dev"))
    return {"x": train, "validation_data": dev, "epochs": 40, "shuffle": False, "verbose": 0}


# The cache


def test_a_finished_run_comes_from_the_cache(tiny, cache):
    (first,) = tiny["train"]("x", epochs=2)
    (second,) = again(tiny)["train"]("another name", epochs=2)
    assert first.history == second.history and first.metrics == second.metrics
    assert all(np.array_equal(a, b) for a, b in zip(first.state, second.state, strict=True))
    with np.load(next(cache.glob("*.npz")), allow_pickle=False) as file:
        assert "about" in file.files, "a cache file holds data only"


def test_a_stopped_training_goes_on(tiny, cache):
    whole = tiny["fit"](tiny["Experiment"]("x", epochs=2), 0, tiny["prepare"]("mnist"))
    tiny["train"]("x", epochs=1)
    for path in cache.glob("*-001.npz"):
        path.rename(str(path).replace("-001.npz", "-001-on.npz"))
    assert numbers(again(tiny)["train"]("x", epochs=2)[0]) == numbers(whole)
    assert not list(cache.glob("*-on.npz")), "the epoch before is dropped"


def test_a_stopped_training_serves_as_a_shorter_one(tiny, cache, one):
    """What was left after one epoch of many is no measured training of one epoch."""
    tiny["save"](dataclasses.replace(one, metrics={}), tiny["key_of"](one.experiment, 0))
    assert [path.name[-10:] for path in cache.iterdir()] == ["001-on.npz"]
    (run,) = tiny["train"]("x", epochs=1)
    assert numbers(run) == numbers(one)
    assert run.metrics == one.metrics


@pytest.mark.parametrize("spoil", ["cut", "foreign", "empty", "pickle", "no history", "another run's"])
def test_a_bad_cache_file_is_said_and_trained_again(tiny, cache, one, capsys, spoil):
    tiny["save"](one, tiny["key_of"](one.experiment, 0))
    (path,) = cache.glob("*.npz")
    whole = path.read_bytes()
    if spoil == "another run's":
        tiny["save"](one, "0" * 16)
        path.write_bytes((cache / f"{'0' * 16}-001.npz").read_bytes())
    elif spoil == "pickle":
        np.savez(path, about=np.array([{"history": {}}], dtype=object))
    elif spoil == "no history":
        np.savez(path, about=np.frombuffer(b'{"history": {}}', np.uint8))
    else:
        path.write_bytes({"cut": whole[: len(whole) // 2], "foreign": b"%PDF-1.7 not ours", "empty": b""}[spoil])
    (second,) = tiny["train"]("x", epochs=1)
    assert "tệp hỏng" in capsys.readouterr().out
    assert numbers(one) == numbers(second)


def test_a_cache_folder_that_vanishes_loses_nothing(tiny, cache):
    tiny["train"]("x", epochs=1)
    shutil.rmtree(cache)
    (run,) = tiny["train"]("y", epochs=1, batch_size=64)
    assert run.metrics, "the training itself must go on"
    assert list(cache.glob("*.npz")), "the folder is made again"


def test_failing_writes_are_said_and_leave_the_last_good_file(tiny, cache, monkeypatch, capsys):
    calls, savez = [], np.savez

    def full(*args, **kwargs):
        calls.append(1)
        if len(calls) > 2:
            raise OSError(28, "No space left on device")
        savez(*args, **kwargs)

    monkeypatch.setattr(np, "savez", full)
    monkeypatch.setitem(tiny, "MILESTONES", set())
    (run,) = tiny["train"]("x", epochs=4)
    assert run.metrics
    assert "KHÔNG ghi được vào bộ nhớ đệm" in capsys.readouterr().out
    assert [path.name[-10:] for path in cache.iterdir()] == ["002-on.npz"], "epoch 2 was the last good one"


@pytest.mark.parametrize("folder", ["none", "below a file"])
def test_without_a_cache_training_goes_on(tiny, monkeypatch, tmp_path, capsys, folder):
    (tmp_path / "file").touch()
    monkeypatch.setitem(tiny, "CACHE", None if folder == "none" else tmp_path / "file" / "cache")
    assert tiny["train"]("x", epochs=1)[0].metrics
    assert ("KHÔNG ghi được" in capsys.readouterr().out) == (folder != "none"), "said where it fails, and only there"


# Errors of the user's, interrupts, kills


def rerun(start: str):
    """Run again the set-up cell that contains `start`, as a student who changed a setting does."""
    (source,) = [cell for cell in set_up_cells(nbformat.read(NOTEBOOK, as_version=4)) if start in cell]
    return InteractiveShell.instance().run_cell(source, store_history=False)


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("PROFILE", "abc", "BTH2_PROFILE='abc' không hợp lệ: hãy chọn full hoặc quick."),
        ("SEED", -1, "SEED = -1 không hợp lệ"),
        ("SEED", "0", "SEED = '0' không hợp lệ"),
        ("WORKERS", "many", "BTH2_WORKERS='many' không hợp lệ"),
        ("WORKERS", "²", "BTH2_WORKERS='²' không hợp lệ"),
    ],
)
def test_a_bad_setting_is_one_sentence(lab, monkeypatch, setting, value, expected):
    before = dict(lab)
    monkeypatch.setitem(lab, setting, value)
    result = rerun("class UserError")
    (shown,) = result.error_in_exec._render_traceback_()
    assert expected in shown
    lab.update({name: before[name] for name in ("UserError",)})


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
    told = len(seen)
    time.sleep(1)
    assert len(seen) <= told + 2, f"the trainings went on for {len(seen) - told} epochs after the interrupt"


def test_one_failing_training_ends_the_others(tiny, monkeypatch):
    """What goes wrong in one thread is raised, and nothing trains on behind it."""
    seen, save = [], tiny["save"]
    monkeypatch.setitem(tiny, "WORKERS", 2)
    monkeypatch.setitem(tiny, "save", lambda run, *rest: seen.append(run.epochs) or save(run, *rest))
    good, bad = tiny["Experiment"]("x", epochs=10_000), tiny["Experiment"]("bad", activation="no such thing", epochs=5)
    with pytest.raises(ValueError, match="no such thing"):
        tiny["train_all"](good, bad)
    told = len(seen)
    time.sleep(1)
    assert len(seen) <= told + 1, f"the other training went on for {len(seen) - told} epochs"


def test_no_gpu_is_used(lab):
    assert lab["tf"].config.get_visible_devices("GPU") == []
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "-1"


def test_dasks_back_end_gives_the_same_histories(fresh, monkeypatch, two):
    distributed = pytest.importorskip("distributed", reason="pip install dask[distributed]: an optional back end")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config("dask"),
    ):
        monkeypatch.setitem(fresh, "WORKERS", 2)
        runs = fresh["train"]("x", seeds=2, epochs=2)
        assert cluster.scheduler.transition_log, "nothing was sent to the cluster"
    assert numbers(runs[0]) == numbers(two)


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
    return found


def kill_a_kernel(cache: Path) -> dict:
    """Start a kernel, kill it some time after both of its trainings have saved an epoch; KILLS=10: as often."""
    moments = []
    for _ in range(int(os.environ.get("KILLS", "1"))):
        known, moment = reached(cache), random.SystemRandom().uniform(0, 1.5)  # `random` itself is seeded by Keras
        moments.append(moment)
        log = cache.with_suffix(".log")
        with open(log, "wb") as file:
            process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(cache)], cwd=ROOT, stdout=file, stderr=file)
        try:
            deadline = time.monotonic() + 180
            while len(now := reached(cache)) < 2 or any(now[key] <= known.get(key, 0) for key in now):
                assert process.poll() is None, f"the kernel ended by itself:\n{log.read_text('utf-8')[-2000:]}"
                assert time.monotonic() < deadline, "no epoch of both trainings within three minutes"
                time.sleep(0.05)
            time.sleep(moment)
        finally:
            process.kill()
            process.wait(timeout=60)
    return {"cache": cache, "moments": moments}


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
    found, said = reached(killed["cache"]), f"killed {killed['moments']} s after the first epochs"
    e = fresh["Experiment"]("x", batch_size=16, epochs=max(found.values()) + 1)
    assert set(found) == {fresh["key_of"](e, seed) for seed in (0, 1)}, "another process names its runs otherwise"
    monkeypatch.setitem(fresh, "CACHE", killed["cache"])
    (resumed,) = fresh["train_all"](e, seeds=2)
    for run in resumed:
        whole = fresh["fit"](e, run.seed, fresh["mnist"])
        assert numbers(run) == numbers(whole), f"seed {run.seed} gives other numbers, {said}"
        assert run.metrics == whole.metrics, said
        epochs = found[fresh["key_of"](e, run.seed)]
        assert run.history["seconds"][:epochs] != whole.history["seconds"][:epochs], f"{run.seed} began anew, {said}"
