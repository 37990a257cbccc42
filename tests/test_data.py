"""Data: what was asked for and is bad is one clear sentence; what is out of reach is a marked stand-in."""

import hashlib
import socket

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


def change(**arrays):
    return lambda good: good | arrays


def without(*names):
    return lambda good: {key: array for key, array in good.items() if key not in names}


FAULTS = {
    "no images": (without("x_train"), "thiếu một trong các mảng"),
    "wrong key": (lambda g: {k.replace("y_test", "labels"): v for k, v in g.items()}, "thiếu một trong các mảng"),
    "wrong images": (
        change(x_train=np.zeros((200, 28, 27), np.uint8)),
        "cần x_train kiểu uint8 kích thước (số ảnh, 28, 28)",
    ),
    "no image at all": (change(x_test=np.zeros((0, 28, 28), np.uint8)), "x_test là uint8 (0, 28, 28)"),
    "too few images": (
        change(x_test=np.zeros((49, 28, 28), np.uint8)),
        "x_test là uint8 (49, 28, 28), y_test là uint8 (50,)",
    ),
    "too few labels": (
        change(y_train=np.zeros(10, np.uint8)),
        "x_train là uint8 (200, 28, 28), y_train là uint8 (10,)",
    ),
    "float pixels": (change(x_test=np.zeros((50, 28, 28), np.float32)), "x_test là float32 (50, 28, 28)"),
    "float labels": (change(y_test=np.zeros(50)), "y_test là float64 (50,)"),
    "label 10": (change(y_test=np.full(50, 10, np.uint8)), "y_test là uint8 (50,) gồm [10]"),
    "label -1": (change(y_train=np.full(200, -1, np.int8)), "y_train là int8 (200,) gồm [-1]"),
    "text as labels": (change(y_train=np.full(200, "bảy")), "nhãn nguyên từ 0 đến 9"),
    "a number as images": (change(x_train=np.uint8(3)), "x_train là uint8 ()"),
}


def error_of(lab, path) -> str:
    with pytest.raises(lab["UserError"]) as caught:
        lab["read_npz"](path, SHAPES["mnist"])
    (shown,) = caught.value._render_traceback_()
    assert str(path) in shown, "the message must name the file"
    assert "BTH2_DATA_DIR" in shown, "the message must say what to do"
    assert "\n" not in shown
    return shown


@pytest.fixture
def folder(lab, monkeypatch, tmp_path):
    """An empty BTH2_DATA_DIR."""
    monkeypatch.setitem(lab, "DATA_DIR", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_file_gets_its_own_sentence(lab, tmp_path, fault):
    spoil, expected = FAULTS[fault]
    np.savez_compressed(tmp_path / "mnist.npz", **spoil(good("mnist")))
    assert expected in error_of(lab, tmp_path / "mnist.npz")


def test_missing_file(lab, tmp_path):
    assert "Không có tệp" in error_of(lab, tmp_path / "mnist.npz")


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
def test_truncated_file(lab, tmp_path, kept):
    path = tmp_path / "mnist.npz"
    np.savez_compressed(path, **good("mnist"))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    assert "bị hỏng" in error_of(lab, path)


def test_a_pickle_is_not_loaded(lab, tmp_path):
    path = tmp_path / "mnist.npz"
    np.savez(path, x_train=np.array([object()], dtype=object))
    assert "bị hỏng" in error_of(lab, path)


def test_an_npy_under_the_name_of_an_npz(lab, tmp_path):
    with open(tmp_path / "mnist.npz", "wb") as file:
        np.save(file, np.zeros(3))
    assert "bị hỏng" in error_of(lab, tmp_path / "mnist.npz")


@pytest.mark.parametrize("name", SHAPES)
def test_a_good_file_is_taken_as_it_is(lab, tmp_path, name):
    np.savez_compressed(tmp_path / f"{name}.npz", **good(name))
    arrays = lab["read_npz"](tmp_path / f"{name}.npz", SHAPES[name])
    for key, array in good(name).items():
        assert np.array_equal(arrays[key], array), f"{key} changed while it was read"


@pytest.mark.parametrize("name", SHAPES)
def test_stand_in_has_the_shapes_but_not_the_size(lab, name):
    arrays = lab["stand_in"](SHAPES[name])
    assert arrays["x_train"].shape[1:] == SHAPES[name]
    assert arrays["x_train"].dtype == np.uint8
    assert len(arrays["x_train"]) + len(arrays["x_test"]) == 1797
    assert set(arrays["y_train"]) == set(range(10))
    again = lab["stand_in"](SHAPES[name])
    assert all(np.array_equal(arrays[key], again[key]) for key in arrays), "the stand-in must be deterministic"


def test_out_of_reach_is_a_stand_in_that_says_so(lab, monkeypatch):
    def unreachable():
        raise OSError("no network")

    monkeypatch.setattr(lab["keras"].datasets.mnist, "load_data", unreachable)
    monkeypatch.setitem(lab, "DATA_DIR", "")
    _, source, is_stand_in = lab["load"]("mnist")
    assert is_stand_in
    assert "THAY THẾ" in source
    assert "no network" in source


def test_a_silent_network_cannot_hang(lab, monkeypatch):
    """Keras sets no time-out of its own, so the notebook sets one on every socket while it loads."""
    seen = []

    def load_data():
        seen.append(socket.getdefaulttimeout())
        raise TimeoutError("timed out")

    monkeypatch.setattr(lab["keras"].datasets.mnist, "load_data", load_data)
    monkeypatch.setitem(lab, "DATA_DIR", "")
    lab["load"]("mnist")
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


def test_the_home_sign_is_understood(lab, monkeypatch, tmp_path):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    (tmp_path / "data").mkdir()
    np.savez(tmp_path / "data" / "mnist.npz", **good("mnist"))
    monkeypatch.setitem(lab, "DATA_DIR", "~/data")
    arrays, _, is_stand_in = lab["load"]("mnist")
    assert not is_stand_in
    assert len(arrays["x_train"]) == 200


def test_only_the_course_copy_is_said_to_come_from_jpeg(lab, monkeypatch, folder):
    arrays = good("cifar10")
    np.savez(folder / "cifar10.npz", **arrays)
    assert "JPEG" not in lab["load"]("cifar10")[1], "another copy of CIFAR-10 has nothing to do with JPEG"
    monkeypatch.setitem(lab, "COURSE_COPY", hashlib.sha256(arrays["x_train"]).hexdigest())
    assert "JPEG" in lab["load"]("cifar10")[1], "the copy with this checksum holds images unpacked from JPEG"


# The parts


@pytest.fixture
def prepared(lab, monkeypatch):
    """prepare("mnist") in the full profile, on the small data set whose images tell their labels."""
    monkeypatch.setitem(lab, "load", lambda name: (good(name), "test", False))
    monkeypatch.setitem(lab, "SIZES", (None, None, None))
    return lambda name="mnist": lab["prepare"].__wrapped__(name)


def test_ninety_per_cent_train_ten_dev_and_test_as_given(prepared):
    data = prepared()
    assert {part: x.shape for part, x in data.x.items()} == {"train": (180, 784), "dev": (20, 784), "test": (50, 784)}
    assert {part: y.shape for part, y in data.labels.items()} == {"train": (180,), "dev": (20,), "test": (50,)}
    assert all(x.dtype == np.uint8 for x in data.x.values()), "the pixels stay 0-255"
    assert list(data.x) == ["train", "dev", "test"]


def test_every_image_is_in_one_part_only(prepared):
    data = prepared()
    numbers = {part: x[:, 0].tolist() for part, x in data.x.items()}
    assert sorted(numbers["train"] + numbers["dev"]) == list(range(200)), "train and dev are the training set, once"
    assert numbers["test"] == list(range(50)), "test is the test set, in its order"
    assert {part: set(x[:, 1].tolist()) for part, x in data.x.items()} == {"train": {5}, "dev": {5}, "test": {4}}


@pytest.mark.parametrize("name", SHAPES)
def test_labels_belong_to_their_images(prepared, name):
    data = prepared(name)
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
    assert {part: len(x) for part, x in quick.x.items()} == {"train": 50, "dev": 10, "test": 20}
    for part, x in quick.x.items():
        assert np.array_equal(x, whole.x[part][: len(x)])
        assert np.array_equal(quick.labels[part], whole.labels[part][: len(x)])


def test_another_data_set_of_keras_from_the_folder(lab, folder):
    np.savez(folder / "fashion_mnist.npz", **good("fashion_mnist"))
    data = lab["prepare"].__wrapped__("fashion_mnist")
    assert data.title == "Fashion-MNIST"
    assert not data.stand_in
    assert {part: x.shape for part, x in data.x.items()} == {"train": (180, 784), "dev": (20, 784), "test": (50, 784)}


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
    assert tuple(map(len, data.x.values())) == sizes
    train, dev, test = (hashes(x) for x in data.x.values())
    assert len(dev) > 0.99 * len(data.x["dev"])
    assert len(dev & train) < 0.01 * len(dev), "dev is not a part of train"
    assert len(test & (train | dev)) < 0.01 * len(test), "test is not a part of train or dev"
