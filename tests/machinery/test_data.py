"""Data: what was asked for and is bad is one clear sentence; what is out of reach is a marked stand-in."""

import hashlib
import socket
from pathlib import Path

import numpy as np
import pytest
from conftest import has_real_data

SHAPES = {"mnist": (28, 28), "fashion_mnist": (28, 28), "cifar10": (32, 32, 3)}


def good(name: str) -> dict[str, np.ndarray]:
    """A small data set in which an image tells its label: every pixel is the label, the first two count the images."""
    shape = SHAPES[name]
    arrays = {}
    for part, count in (("train", 200), ("test", 50)):
        labels = np.random.default_rng(count).integers(0, 10, count, dtype=np.uint8)
        images = np.zeros((count, *shape), np.uint8) + labels.reshape(-1, *[1] * len(shape))
        images.reshape(count, -1)[:, 0] = np.arange(count)
        images.reshape(count, -1)[:, 1] = len(part)
        arrays |= {f"x_{part}": images, f"y_{part}": labels.reshape(-1, 1) if name == "cifar10" else labels}
    return arrays


def images(count: int, height: int = 28, dtype=np.uint8) -> np.ndarray:
    return np.zeros((count, 28, height), dtype)


BAD_ARRAYS = {  # what stands in place of which array (None: nothing), and what the sentence says
    "no images": ("x_train", None, "thiếu một trong các mảng"),
    "no labels": ("y_test", None, "thiếu một trong các mảng"),
    "a pickle": ("x_train", np.array([object()], dtype=object), "bị hỏng"),
    "wrong images": ("x_train", images(200, 27), "cần x_train kiểu uint8 kích thước (số ảnh, 28, 28)"),
    "no image at all": ("x_test", images(0), "x_test là uint8 (0, 28, 28)"),
    "too few images": ("x_test", images(49), "x_test là uint8 (49, 28, 28), y_test là uint8 (50,)"),
    "too few labels": ("y_train", np.zeros(10, np.uint8), "x_train là uint8 (200, 28, 28), y_train là uint8 (10,)"),
    "float pixels": ("x_test", images(50, dtype=np.float32), "x_test là float32 (50, 28, 28)"),
    "float labels": ("y_test", np.zeros(50), "y_test là float64 (50,)"),
    "label 10": ("y_test", np.full(50, 10, np.uint8), "y_test là uint8 (50,) gồm [10]"),
    "label -1": ("y_train", np.full(200, -1, np.int8), "y_train là int8 (200,) gồm [-1]"),
    "text as labels": ("y_train", np.full(200, "bảy"), "nhãn nguyên từ 0 đến 9"),
    "a number as images": ("x_train", np.uint8(3), "x_train là uint8 ()"),
}


def error_of(lab, path: Path) -> str:
    with pytest.raises(lab["UserError"]) as caught:
        lab["read_npz"](path, SHAPES["mnist"])
    (shown,) = caught.value._render_traceback_()
    assert str(path) in shown, "the message must name the file"
    assert "BTH2_DATA_DIR" in shown, "the message must say what to do"
    assert "\n" not in shown
    return shown


@pytest.mark.parametrize("fault", BAD_ARRAYS)
def test_a_bad_array_gets_its_own_sentence(lab, tmp_path, fault):
    name, array, expected = BAD_ARRAYS[fault]
    arrays = {key: value for key, value in (good("mnist") | {name: array}).items() if value is not None}
    np.savez_compressed(tmp_path / "mnist.npz", **arrays)
    assert expected in error_of(lab, tmp_path / "mnist.npz")


@pytest.mark.parametrize("kept", [None, "npy", 0.0, 0.01, 0.5, 0.99])
def test_a_bad_file_gets_its_own_sentence(lab, tmp_path, kept):
    """No file, an .npy under the name of an .npz, and the file as far as a broken copy came."""
    path = tmp_path / "mnist.npz"
    if kept is not None:
        with open(path, "wb") as file:
            np.save(file, np.zeros(3)) if kept == "npy" else np.savez_compressed(file, **good("mnist"))
        if kept != "npy":
            path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    assert ("Không có tệp" if kept is None else "bị hỏng") in error_of(lab, path)


@pytest.mark.parametrize("name", SHAPES)
def test_a_good_file_is_taken_as_it_is(lab, monkeypatch, tmp_path, name):
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    (tmp_path / "data").mkdir()
    np.savez_compressed(tmp_path / "data" / f"{name}.npz", **good(name))
    for folder in (str(tmp_path / "data"), "~/data"):
        monkeypatch.setitem(lab, "DATA_DIR", folder)
        arrays, source, is_stand_in = lab["load"](name)
        assert not is_stand_in and f"{name}.npz" in source
        for key, array in good(name).items():
            assert np.array_equal(arrays[key], array), f"{key} changed while it was read"
    assert "JPEG" not in source, "another copy of CIFAR-10 has nothing to do with JPEG"
    monkeypatch.setitem(lab, "COURSE_COPY", hashlib.sha256(arrays["x_train"]).hexdigest())
    assert "JPEG" in lab["load"](name)[1], "the copy with this checksum holds images unpacked from JPEG"


@pytest.mark.parametrize("name", SHAPES)
def test_stand_in_has_the_shapes_but_not_the_size(lab, name):
    arrays = lab["stand_in"](SHAPES[name])
    assert arrays["x_train"].shape[1:] == SHAPES[name]
    assert arrays["x_train"].dtype == np.uint8
    assert len(arrays["x_train"]) + len(arrays["x_test"]) == 1797
    assert set(arrays["y_train"]) == set(range(10))
    again = lab["stand_in"](SHAPES[name])
    assert all(np.array_equal(arrays[key], again[key]) for key in arrays), "the stand-in must be deterministic"


def test_out_of_reach_is_a_stand_in_that_says_so_and_a_silent_network_cannot_hang(lab, monkeypatch):
    """Keras sets no time-out of its own, so the notebook sets one on every socket while it loads."""
    seen = []

    def load_data():
        seen.append(socket.getdefaulttimeout())
        raise OSError("no network")

    monkeypatch.setattr(lab["keras"].datasets.mnist, "load_data", load_data)
    monkeypatch.setitem(lab, "DATA_DIR", "")
    _, source, is_stand_in = lab["load"]("mnist")
    assert is_stand_in and "THAY THẾ" in source and "no network" in source
    assert seen == [lab["NETWORK_TIMEOUT"]]
    assert socket.getdefaulttimeout() is None, "the time-out must not outlive the download"


def test_what_keras_loads_is_taken_as_it_is(lab, monkeypatch):
    arrays = good("mnist")
    pairs = tuple((arrays[f"x_{part}"], arrays[f"y_{part}"]) for part in ("train", "test"))
    monkeypatch.setattr(lab["keras"].datasets.mnist, "load_data", lambda: pairs)
    monkeypatch.setitem(lab, "DATA_DIR", "")
    loaded, source, is_stand_in = lab["load"]("mnist")
    assert not is_stand_in
    assert source == "keras.datasets.mnist.load_data()"
    assert all(np.array_equal(loaded[key], arrays[key]) for key in arrays), "a part or an axis was exchanged"


def test_a_data_set_that_keras_does_not_have_is_no_stand_in(lab, monkeypatch):
    monkeypatch.setitem(lab, "DATA_DIR", "")
    with pytest.raises(lab["UserError"], match="mnits"):
        lab["load"]("mnits")


# The parts


@pytest.fixture
def prepared(lab, monkeypatch):
    """prepare("mnist") in the full profile, on the small data set whose images tell their labels."""
    monkeypatch.setitem(lab, "load", lambda name: (good(name), "test", False))
    monkeypatch.setitem(lab, "SIZES", (None, None, None))
    return lambda name="mnist": lab["prepare"].__wrapped__(name)


@pytest.mark.parametrize("name", SHAPES)
def test_ninety_per_cent_train_ten_dev_and_test_as_given(prepared, name):
    """Every image is in one part, once, with its own label, and none of its pixels is changed."""
    data, pixels = prepared(name), int(np.prod(SHAPES[name]))
    assert list(data.x) == list(data.labels) == ["train", "dev", "test"]
    assert [x.shape for x in data.x.values()] == [(180, pixels), (20, pixels), (50, pixels)]
    assert [y.shape for y in data.labels.values()] == [(180,), (20,), (50,)]
    assert all(x.dtype == np.uint8 for x in data.x.values()), "the pixels stay 0-255"
    numbers = {part: x[:, 0].tolist() for part, x in data.x.items()}
    assert sorted(numbers["train"] + numbers["dev"]) == list(range(200)), "train and dev are the training set, once"
    assert numbers["test"] == list(range(50)), "test is the test set, in its order"
    assert {part: set(x[:, 1].tolist()) for part, x in data.x.items()} == {"train": {5}, "dev": {5}, "test": {4}}
    for part, x in data.x.items():
        assert np.array_equal(x[:, -1], data.labels[part]), f"labels of {part} are not those of its images"


def test_the_seed_draws_the_split(lab, monkeypatch, prepared):
    first, again = prepared(), prepared()
    assert np.array_equal(first.x["dev"], again.x["dev"]), "the same seed must give the same split"
    assert first.sha256 == again.sha256
    monkeypatch.setitem(lab, "SEED", 1)
    other = prepared()
    assert not np.array_equal(first.x["dev"], other.x["dev"]), "another SEED must draw another split"
    assert np.array_equal(first.x["test"], other.x["test"]), "no seed touches the test set"
    assert first.sha256 != other.sha256, "the checksum must tell the splits apart: the cache's key rests on it"


def test_the_checksum_sees_every_array(lab, monkeypatch, prepared):
    known = {prepared().sha256}
    for key in good("mnist"):
        arrays = good("mnist")
        arrays[key][3] = 9 - arrays[key][3]
        monkeypatch.setitem(lab, "load", lambda name, arrays=arrays: (arrays, "test", False))
        known.add(prepared().sha256)
    assert len(known) == 5, "a change in one of the arrays left the checksum as it was"


def test_the_quick_profile_keeps_the_beginning_of_each_part(lab, monkeypatch, prepared):
    whole = prepared()
    monkeypatch.setitem(lab, "SIZES", (50, 10, 20))
    quick = prepared()
    for part, size in (("train", 50), ("dev", 10), ("test", 20)):
        assert np.array_equal(quick.x[part], whole.x[part][:size])
        assert np.array_equal(quick.labels[part], whole.labels[part][:size])


def hashes(x: np.ndarray) -> set[bytes]:
    return {hashlib.sha256(row).digest() for row in x}


@pytest.mark.skipif(not has_real_data(), reason="needs MNIST and CIFAR-10 themselves")
@pytest.mark.parametrize(("name", "sizes"), [("mnist", (54_000, 6_000, 10_000)), ("cifar10", (45_000, 5_000, 10_000))])
def test_the_real_data_sets(lab, monkeypatch, name, sizes):
    """Their images differ from each other (but for one or two), so a part inside another would be seen."""
    monkeypatch.setitem(lab, "SIZES", (None, None, None))
    data = lab["prepare"].__wrapped__(name)
    if data.stand_in:
        pytest.skip(f"{name} could not be loaded")
    assert data.title == {"mnist": "MNIST", "cifar10": "CIFAR-10"}[name]
    assert tuple(map(len, data.x.values())) == sizes
    train, dev, test = (hashes(x) for x in data.x.values())
    assert len(dev) > 0.99 * len(data.x["dev"])
    assert len(dev & train) < 0.01 * len(dev), "dev is not a part of train"
    assert len(test & (train | dev)) < 0.01 * len(test), "test is not a part of train or dev"
