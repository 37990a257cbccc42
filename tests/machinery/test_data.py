"""Data: what was asked for and is bad is one clear sentence; what is out of reach is a marked stand-in."""

import hashlib
import io
import socket

import numpy as np
import pytest
import sklearn.datasets

SHAPES = {"mnist": (28, 28), "fashion_mnist": (28, 28), "cifar10": (32, 32, 3)}
TITLES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}


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


def written(save, *args, **arrays) -> bytes:
    """What np.save or np.savez writes."""
    file = io.BytesIO()
    save(file, *args, **arrays)
    return file.getvalue()


def one_sentence(function, *args, **kwargs) -> str:
    """What Jupyter shows of the UserError that a call ends in."""
    with pytest.raises(ValueError) as caught:
        function(*args, **kwargs)
    (shown,) = caught.value._render_traceback_()
    assert "\n" not in shown, shown
    return shown


def images(*shape: int, dtype=np.uint8) -> np.ndarray:
    return np.zeros(shape, dtype)


DAMAGED = "bị hỏng, không phải tệp .npz, hoặc thiếu một trong các mảng"
BAD = {  # the file's content, or which arrays of a good one are others; and what the sentence says
    "no file": (None, "Không có tệp"),
    "an empty file": (b"", DAMAGED),
    "a file cut short": (written(np.savez_compressed, **good("mnist"))[:-9], DAMAGED),
    "an .npy": (written(np.save, np.zeros(3)), DAMAGED),
    "no labels": ({"y_test": None}, DAMAGED),
    "a pickle": ({"x_train": np.array([object()])}, DAMAGED),
    "wrong images": ({"x_train": images(200, 28, 27)}, "cần x_train kiểu uint8 kích thước (số ảnh, 28, 28)"),
    "no image at all": ({"x_test": images(0, 28, 28), "y_test": images(0)}, "x_test là uint8 (0, 28, 28)"),
    "too few images": ({"x_test": images(49, 28, 28)}, "x_test là uint8 (49, 28, 28), y_test là uint8 (50,)"),
    "float pixels": ({"x_test": images(50, 28, 28, dtype=np.float32)}, "x_test là float32 (50, 28, 28)"),
    "float labels": ({"y_test": np.zeros(50)}, "y_test là float64 (50,)"),
    "label 10": ({"y_test": np.full(50, 10, np.uint8)}, "y_test là uint8 (50,) gồm [10]"),
    "label -1": ({"y_train": np.full(200, -1, np.int8)}, "y_train là int8 (200,) gồm [-1]"),
    "text as labels": ({"y_train": np.full(200, "bảy")}, "nhãn nguyên từ 0 đến 9"),
    "a number as images": ({"x_train": np.uint8(3)}, "x_train là uint8 ()"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_file_gets_its_own_sentence(lab, tmp_path, fault):
    path, (content, expected) = tmp_path / "mnist.npz", BAD[fault]
    if isinstance(content, dict):
        arrays = good("mnist") | content
        content = written(np.savez, **{key: array for key, array in arrays.items() if array is not None})
    if content is not None:
        path.write_bytes(content)
    shown = one_sentence(lab["read_npz"], path, SHAPES["mnist"])
    for part in (expected, str(path), "BTH2_DATA_DIR"):  # what is wrong, where, and what to do
        assert part in shown


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_there_is_taken_as_it_is(lab, monkeypatch, tmp_path, name):
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    arrays = good(name)
    (tmp_path / f"{name}.npz").write_bytes(written(np.savez, **arrays))
    pairs = tuple((arrays[f"x_{part}"], arrays[f"y_{part}"]) for part in ("train", "test"))
    monkeypatch.setattr(getattr(lab["keras"].datasets, name), "load_data", lambda: pairs)
    file = f"tệp {name}.npz trong DATA_DIR"
    for folder, said in (("", f"keras.datasets.{name}.load_data()"), ("~", file), (str(tmp_path), file)):
        monkeypatch.setitem(lab, "DATA_DIR", folder)
        found, source, is_stand_in = lab["load"](name)
        assert (source, is_stand_in) == (said, False)
        for key, array in arrays.items():
            assert np.array_equal(found[key], array), f"{key} changed while it was read from {source}"
    monkeypatch.setitem(lab, "COURSE_COPY", hashlib.sha256(arrays["x_train"]).hexdigest())
    assert "JPEG" in lab["load"](name)[1], "the copy with this checksum holds images unpacked from JPEG"


@pytest.mark.parametrize("name", SHAPES)
def test_out_of_reach_is_a_stand_in_that_says_so_and_a_silent_network_cannot_hang(lab, monkeypatch, name):
    """Keras sets no time-out of its own, so the notebook sets one on every socket while it loads."""
    seen = []

    def load_data():
        seen.append(socket.getdefaulttimeout())
        raise OSError("no network")

    monkeypatch.setattr(getattr(lab["keras"].datasets, name), "load_data", load_data)
    monkeypatch.setitem(lab, "DATA_DIR", "")
    arrays, source, is_stand_in = lab["load"](name)
    assert is_stand_in and "THAY THẾ" in source and "no network" in source
    assert seen == [lab["NETWORK_TIMEOUT"]]
    assert socket.getdefaulttimeout() is None, "the time-out must not outlive the download"
    x, y = (np.concatenate([arrays[f"{axis}_train"], arrays[f"{axis}_test"]]) for axis in "xy")
    assert (x.shape, x.dtype) == ((1797, *SHAPES[name]), np.uint8), "shapes of the data set, but not its size"
    digits = sklearn.datasets.load_digits()
    assert y.tolist() == digits.target.tolist(), "images have the labels of others"
    assert not x[:, [0, 1, -2, -1]].any() and not x[:, :, [0, 1, -2, -1]].any(), "the digits are not in the middle"
    assert x.reshape(len(x), -1).max(axis=1).tolist() == [int(15.9 * most) for most in digits.data.max(axis=1)]


def test_a_data_set_that_keras_does_not_have_is_no_stand_in(lab, monkeypatch):
    monkeypatch.setitem(lab, "DATA_DIR", "")
    assert "không có bộ dữ liệu mnits" in one_sentence(lab["load"], "mnits")


@pytest.fixture
def prepare(lab, monkeypatch):
    """`prepare` in the full profile, on the small data sets whose images tell their labels, with some names changed."""
    names = {"load": lambda name: (good(name), "test", False), "SIZES": (None, None, None), "DATA": {}}

    def prepared(name="mnist", **changes):
        for key, value in (names | changes).items():
            monkeypatch.setitem(lab, key, value)
        return lab["prepare"].__wrapped__(name)

    return prepared


@pytest.mark.parametrize("name", SHAPES)
def test_ninety_per_cent_train_ten_dev_and_test_as_given(prepare, name):
    """Every image is in one part, once, with its own label, and none of its pixels is changed."""
    data, pixels = prepare(name), int(np.prod(SHAPES[name]))
    assert data.title == TITLES[name]
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


def test_the_seed_draws_the_split(prepare):
    first, again, other = prepare(), prepare(), prepare(SEED=1)
    assert first.sha256 == again.sha256, "the same seed must give the same split"
    assert not np.array_equal(first.x["dev"], other.x["dev"]), "another SEED must draw another split"
    assert np.array_equal(first.x["test"], other.x["test"]), "no seed touches the test set"
    assert first.sha256 != other.sha256, "the checksum must tell the splits apart: the cache's key rests on it"


def test_the_checksum_sees_every_array(prepare):
    known = {"": prepare().sha256}
    for key in (arrays := good("mnist")):
        changed = arrays | {key: np.roll(arrays[key], 1)}
        known[key] = prepare(load=lambda name, changed=changed: (changed, "test", False)).sha256
    assert len(set(known.values())) == 5, f"a change in an array left the checksum as it was: {known}"


def test_the_quick_profile_keeps_the_beginning_of_each_part(prepare):
    sizes = {"train": 50, "dev": 10, "test": 20}
    whole, quick = prepare(), prepare(SIZES=tuple(sizes.values()))
    for part, size in sizes.items():
        assert np.array_equal(quick.x[part], whole.x[part][:size]), f"images of {part}"
        assert np.array_equal(quick.labels[part], whole.labels[part][:size]), f"labels of {part}"
