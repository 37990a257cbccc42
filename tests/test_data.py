"""Data: what was asked for and is bad is one clear sentence; what is out of reach is a marked stand-in."""

import socket

import numpy as np
import pytest


def good(name: str) -> dict[str, np.ndarray]:
    """Arrays of the right shapes; zeros compress to almost nothing."""
    train = {"mnist": 60_000, "cifar10": 50_000}[name]
    shape = {"mnist": (28, 28), "cifar10": (32, 32, 3)}[name]
    labels = {"mnist": (), "cifar10": (1,)}[name]
    return {
        "x_train": np.zeros((train, *shape), np.uint8),
        "y_train": np.zeros((train, *labels), np.uint8),
        "x_test": np.zeros((10_000, *shape), np.uint8),
        "y_test": np.zeros((10_000, *labels), np.uint8),
    }


def change(**arrays):
    return lambda good: good | arrays


FAULTS = {
    "wrong key": (lambda g: {k.replace("y_test", "labels"): v for k, v in g.items()}, "thiếu mảng y_test"),
    "wrong images": (change(x_train=np.zeros((60_000, 28, 27), np.uint8)), "(60000, 28, 27) thay vì (60000, 28, 28)"),
    "too few images": (change(x_test=np.zeros((9_999, 28, 28), np.uint8)), "x_test kích thước (9999, 28, 28)"),
    "too few labels": (change(y_train=np.zeros(10, np.uint8)), "y_train kích thước (10,)"),
    "float pixels": (change(x_test=np.zeros((10_000, 28, 28), np.float32)), "x_test kiểu float32 thay vì uint8"),
    "float labels": (change(y_test=np.zeros(10_000)), "y_test kiểu float64 thay vì số nguyên"),
    "label 10": (change(y_test=np.full(10_000, 10, np.uint8)), "nhãn ngoài 0–9 trong y_test"),
    "label -1": (change(y_train=np.full(60_000, -1, np.int8)), "nhãn ngoài 0–9 trong y_train"),
}


def error_of(lab, path) -> str:
    with pytest.raises(lab["UserError"]) as caught:
        lab["read_npz"](path, "mnist")
    (shown,) = caught.value._render_traceback_()
    assert str(path) in shown, "the message must name the file"
    assert "BTH2_DATA_DIR" in shown, "the message must say what to do"
    assert "\n" not in shown
    return shown


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


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_a_good_file_is_taken(lab, tmp_path, name):
    np.savez_compressed(tmp_path / f"{name}.npz", **good(name))
    arrays = lab["read_npz"](tmp_path / f"{name}.npz", name)
    assert arrays["x_train"].shape == good(name)["x_train"].shape


@pytest.mark.parametrize(("name", "shape"), [("mnist", (28, 28)), ("cifar10", (32, 32, 3))])
def test_stand_in_has_the_shapes_but_not_the_size(lab, name, shape):
    arrays = lab["stand_in"](name)
    assert arrays["x_train"].shape[1:] == shape
    assert arrays["x_train"].dtype == np.uint8
    assert len(arrays["x_train"]) + len(arrays["x_test"]) == 1797
    assert set(arrays["y_train"]) == set(range(10))
    again = lab["stand_in"](name)
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


def test_split_is_ninety_to_ten_and_repeatable(lab, monkeypatch):
    first, second = lab["prepare"]("mnist"), lab["prepare"]("mnist")
    train, dev = len(first.x["train"]), len(first.x["dev"])
    assert dev == -(-(train + dev) // 10)
    assert np.array_equal(first.x["dev"], second.x["dev"])
    assert first.x["train"].dtype == np.uint8
    assert first.y["train"].shape == (train, 10)
    assert np.array_equal(first.y["dev"].sum(axis=1), np.ones(dev))
