"""The functions that the sections define for themselves, each by an independent formula, and what is chosen on dev."""

import os
import re

import numpy as np
import pytest

COUNTS = {"train": 40, "dev": 16, "test": 24}
STOPS = [("val_loss", [0.5, 0.4, 0.45, 0.44, 0.3, 0.2], 4), ("loss", [0.5, 0.4, 0.45, 0.39, 0.41, 0.4], 6)]
STOPS += [("val_loss", [0.3, 0.2, 0.1], 3), ("val_accuracy", [0.1, 0.2, 0.3, 0.3, 0.4, 0.5], 6)]


def data_of(lab, x: dict, labels: dict):
    return lab["Data"]("mnist", "test", False, x, labels, "checksum")


@pytest.fixture
def tiny(lab, monkeypatch):
    """Images of 12 pixels for every data set; each part has every class."""
    rng = np.random.default_rng(0)
    x = {part: rng.integers(0, 5, (n, 12), dtype=np.uint8) for part, n in COUNTS.items()}
    labels = {part: rng.permutation(np.r_[:10, rng.integers(0, 10, n - 10)]) for part, n in COUNTS.items()}
    data = data_of(lab, x, labels)
    monkeypatch.setitem(lab, "prepare", lambda name: data)
    return data


def small(lab, **changes):
    return lab["Experiment"]("x", **{"hidden": (6,), "batch_size": 16, "epochs": 2} | changes)


def fake(lab, seed=0, state=(), e=None, metrics=None, **history):
    return lab["Run"](e or small(lab), seed, {"loss": [0.0], **history}, metrics or {}, list(state))


def forward(state, x):
    W1, b1, W2, b2 = (np.asarray(w, np.float64) for w in state[:4])
    hidden = np.maximum(x.astype(np.float64) @ W1 + b1, 0)
    return hidden, 1 / (1 + np.exp(-(hidden @ W2 + b2)))


def states(lab, *seeds):
    e = small(lab, kernel_initializer=lab["RandomNormal"](stddev=0.3))
    return e, [[v.numpy() for v in lab["state_of"](lab["build_model"](e, 12, seed))] for seed in seeds]


def cross_entropy(p, label) -> float:
    return -np.mean([np.log(p[k] if k == label else 1 - p[k]) for k in range(10)])


def test_decayed_is_where_the_penalty_alone_leads(lab, tiny, monkeypatch):
    """On black images the loss has no gradient by W₁, so a real training ends where the formula says."""
    black = data_of(lab, {part: np.zeros_like(x) for part, x in tiny.x.items()}, tiny.labels)
    monkeypatch.setitem(lab, "prepare", lambda name: black)
    e = small(lab, kernel_regularizer=lab["L2"](0.1), optimizer=lab["SGD"](learning_rate=0.25), epochs=3)
    runs = lab["Runs"](lab["fit"](e, seed, black) for seed in (0, 3))
    ends = pytest.approx([run.history["norm_1"][-1] for run in runs], rel=1e-4)
    assert lab["decayed"](runs).values == ends and lab["decayed"](runs, since=2).values == ends


def test_columns_are_pictures_about_a_middle_grey(lab):
    W1 = np.random.default_rng(0).normal(size=(784, 5))
    assert np.allclose(lab["columns"](W1), (0.5 + W1.T / (2 * abs(W1).max())).reshape(5, 28, 28))


def test_each_row_of_pictured_weights_has_the_same_units(lab, monkeypatch):
    monkeypatch.setitem(lab, "draw_images", lambda key, rows, caption, alt: rows)
    rng = np.random.default_rng(0)
    A, B = (rng.normal(size=(784, 20)) * rng.uniform(1, 9, 20) for _ in "AB")
    units = sorted(range(20), key=lambda unit: -np.linalg.norm(A[:, unit]))[:12]
    rows = lab["draw_columns"]("key", {"a": A, "b": B, "another shape": A[:, :5]}, A, "caption")
    assert [label.split(" (")[0] for label in rows] == ["a", "b"]
    for shown, W in zip(rows.values(), (A, B), strict=True):
        assert np.allclose(shown, lab["columns"](W[:, units]))
    assert [*rows] == [f"{name} (±{lab['brief'](abs(W[:, units]).max())})" for name, W in (("a", A), ("b", B))]


def test_the_weight_on_ink_counts_each_pixel_by_its_mean(lab, tiny):
    W1 = np.random.default_rng(0).normal(size=(12, 5))
    total = sum(value * W1[i, unit] for image in tiny.x["train"] for i, value in enumerate(image) for unit in range(5))
    assert lab["weight_on_ink"](fake(lab, state=[W1])) == pytest.approx(total / tiny.x["train"].astype(float).sum() / 5)


def test_samples_are_the_first_of_each_class_of_train_and_only_the_first_images(lab):
    rng = np.random.default_rng(0)
    x = {part: rng.integers(0, 256, (40, 784), dtype=np.uint8) for part in COUNTS}
    labels = {part: rng.permutation(np.repeat(range(10), 4)) for part in COUNTS}
    rows = [i for k in range(10) for i in [i for i in range(40) if labels["train"][i] == k][:2]]
    assert np.array_equal(lab["samples"](data_of(lab, x, labels)), [x["train"][i].reshape(28, 28) / 255 for i in rows])
    few = lab["only"](data_of(lab, x, labels), 11)
    for found, whole in ((few.x, x), (few.labels, labels)):
        assert all(np.array_equal(found[part], whole[part][:11]) for part in COUNTS)


def test_norms_and_epochs(lab):
    W1 = np.array([[0, 3, 0, 9], [2, 3, 0, 0], [2, 3, 1, 0], [2, 3, 0, 0]], float)  # rows: 9.5, 3.6, 3.7, 3.6
    assert lab["strongest"](W1, 3).tolist() == [3, 1, 0]
    drawn = [float(np.linalg.norm(lab["GlorotUniform"](seed=0)(shape))) for shape in ((300, 200), (784, 10))]
    assert [lab["glorot_norm"](300, 200), lab["glorot_norm"](784, 10)] == pytest.approx(drawn, rel=0.02)
    run = fake(lab, val_accuracy=[0.1, 0.4, 0.7])
    assert [lab["dev_at"](epoch).value(run) for epoch in (1, 2, 3)] == pytest.approx([10, 40, 70])


@pytest.mark.parametrize(("size", "updates"), [(16, 3), (20, 2), (40, 1), (8, 5), (1, 40)])
def test_updates_of_an_epoch_and_the_epoch_of_updates(lab, tiny, size, updates):
    assert lab["updates_of"](e := small(lab, batch_size=size, epochs=30)) == updates
    for asked in (1, 4, 7, 17, 23, 88, 10_000):
        distance = [abs(asked - epoch * updates) for epoch in range(1, 31)]
        assert distance[lab["epoch_at"](asked, e) - 1] == min(distance), f"not the epoch nearest to {asked} updates"


def test_the_loss_of_the_shares_of_train_and_always_one_answer(lab, tiny):
    labels = tiny.labels["dev"]
    shares = [list(tiny.labels["train"]).count(k) / COUNTS["train"] for k in range(10)]
    assert lab["shares_loss"](tiny) == pytest.approx(np.mean([cross_entropy(shares, label) for label in labels]))
    for k in range(10):
        assert lab["always"](k, tiny) == pytest.approx(100 * list(tiny.labels["test"]).count(k) / COUNTS["test"])


@pytest.mark.parametrize(("share", "grows"), [(0.98, False), (1.02, True)])
def test_the_largest_rate_is_the_one_beyond_which_steps_grow(lab, share, grows):
    h, W = np.random.default_rng(0).random((50, 4)), np.ones((4, 10))
    for _ in range(1000):  # squared error, a mean over 50 images and 10 outputs, whose minimum is at 0
        W = W - share * lab["largest_rate"](h) * 2 / 10 * h.T @ (h @ W) / len(h)
    assert (np.linalg.norm(W) > 1e3) == grows


@pytest.mark.parametrize(("monitor", "values", "epoch"), STOPS)
def test_stopping_epoch_and_what_was_measured_there(lab, monitor, values, epoch):
    run = fake(lab, **{"loss": [0.0] * len(values), monitor: values}, val_data_loss=np.arange(1.0, 1 + len(values)))
    assert lab["stopping_epoch"](run, monitor) == epoch
    assert lab["at_stop"]("k", "x", "", 2, "val_data_loss", 10, monitor).value(run) == 10 * epoch


def test_a_fit_in_shuffled_order_is_that_of_the_experiments(lab, tiny):
    batches, in_order = lab["shuffled"](e := small(lab, epochs=3), 2)
    done = lab["network"](e, 2).fit(batches, epochs=3, shuffle=False, verbose=0, callbacks=[in_order])
    assert done.history["loss"] == pytest.approx(lab["fit"](e, 2, tiny).history["loss"], rel=1e-6)


def test_outputs_on_test_and_their_mistakes(lab, tiny):
    e, (state,) = states(lab, 5)
    assert np.allclose(lab["outputs_on_test"](fake(lab, 5, state, e)), forward(state, tiny.x["test"])[1], atol=1e-5)
    labels = (rng := np.random.default_rng(0)).integers(0, 10, 200)
    p = rng.random((200, 10)) + 0.4 * np.eye(10)[labels]
    wrong, shares = [i for i in range(200) if p[i].argmax() != labels[i]], np.zeros((10, 10))
    rows, names = sorted(wrong, key=lambda i: -p[i].max())[:7], "abcdefghij"
    assert lab["surest_mistakes"](p, labels, 7).tolist() == rows
    x = {part: rng.integers(0, 256, (200, 784), dtype=np.uint8) for part in COUNTS}
    data = data_of(lab, x, {"train": labels[::-1], "dev": labels[::-1], "test": labels})
    pictures, titles = lab["pictures_of_mistakes"](data, p, names, 7)
    assert np.array_equal(pictures, x["test"][rows].reshape(7, 28, 28) / 255)
    assert titles == [f"{names[labels[i]]}\n→ {names[p[i].argmax()]}" for i in rows]
    for i in wrong:
        shares[labels[i], p[i].argmax()] += 100 / np.sum(labels == labels[i])
    assert np.allclose(lab["confusion"](p, labels), shares)


@pytest.mark.parametrize("strength", [0, 0.3])
def test_the_first_batch_by_hand(lab, tiny, monkeypatch, strength):
    monkeypatch.setitem(lab, "SEED", 4)
    penalty = lab["L2"](strength) if strength else None
    common = {"kernel_regularizer": penalty, "bias_regularizer": penalty, "bias_initializer": lab["Ones"]()}
    e = small(lab, batch_size=10, **common)
    weights = [v.numpy().astype(np.float64) for v in lab["state_of"](lab["build_model"](e, 12, 4))[:4]]
    rows = np.random.default_rng([4, 0]).permutation(COUNTS["train"])[:10]
    hidden, p = forward(weights, tiny.x["train"][rows])
    loss = np.mean(list(map(cross_entropy, p, tiny.labels["train"][rows])))
    found = lab["first_batch"](e)
    assert found[0] == pytest.approx(loss + strength * sum(np.sum(w**2) for w in weights), rel=1e-3)
    assert np.allclose(found[1], hidden, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("images", "pixels", "size"), [(54_016, 784, 128), (54_000, 784, 8), (12_800, 3072, 64)])
def test_work_is_multiplications_and_a_fixed_cost_of_each_update(lab, monkeypatch, images, pixels, size):
    x = {"train": np.broadcast_to(np.uint8(0), (images, pixels))}
    monkeypatch.setitem(lab, "prepare", lambda name: data_of(lab, x, {}))
    update = lambda size, pixels: 11e6 + size * 784 * (pixels + 10) + 24 * 784 * (pixels + 10)
    work, one = images // size * update(size, pixels), 422 * update(128, 784)
    assert lab["work_of"](lab["Experiment"]("x", batch_size=size)) == pytest.approx(work / one)


def test_the_first_cell_asks_for_the_full_profile(notebook, monkeypatch):
    for name in [name for name in os.environ if name.startswith("BTH2_")]:
        monkeypatch.delenv(name)
    names = {}
    exec(next(cell.source for cell in notebook.cells if cell.source.startswith("import os")), names)  # noqa: S102
    wanted = {"PROFILE": "full", "SEEDS": "3", "SEED": 0, "DATA_DIR": "", "CACHE_DIR": ".bth2_cache", "WORKERS": ""}
    assert {name: names[name] for name in wanted} == wanted


def test_the_full_profile_has_all_images_and_the_epochs_of_the_assignment(notebook):
    source = next(cell.source for cell in notebook.cells if "SIZES, SHORT" in cell.source)
    line = re.search(r"(?m)^SIZES, SHORT, EPOCHS, LONG = (.*)\[PROFILE\]", source)[1]
    assert eval(line)["full"] == ((None, None, None), 10, 30, 100)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_learning_rates_and_the_best_model_are_chosen_on_dev(lab, monkeypatch, place):
    opposed = lambda dev: {part: {"accuracy": dev if part == "dev" else 1 - dev} for part in COUNTS}
    rates, at = [0.1, 0.2, 0.3], {"A": place, "B": 2 - place}
    dev = {(name, rate): 0.9 - 0.1 * abs(i - at[name]) for name in at for i, rate in enumerate(rates)}
    tried = {key: lab["Runs"]([fake(lab, metrics=opposed(value))]) for key, value in dev.items()}
    monkeypatch.setitem(lab, "KINDS", {name: (None, 0.1, rates) for name in at})
    monkeypatch.setitem(lab, "tried", tried)
    assert [lab["best_rate"](name) for name in at] == [rates[i] for i in at.values()]
    runs = [fake(lab, metrics=opposed(0.9 - 0.1 * abs(i - place))) for i in range(3)]
    assert lab["best_on_dev"]([lab["Runs"](runs[:1]), lab["Runs"](runs[1:])]) is runs[place]
