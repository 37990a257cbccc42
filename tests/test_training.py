"""Training: the assignment's network, the same numbers again, and nothing lost when it is interrupted."""

import json
import os
import random
import subprocess
import sys
import time
from dataclasses import replace

import nbformat
import numpy as np
import pytest
from conftest import NOTEBOOK, ROOT, set_up_cells
from IPython.core.interactiveshell import InteractiveShell

TIMED = {"seconds"}  # the only series of a history that may differ from run to run


def numbers(run) -> dict[str, list[float]]:
    history = run["history"] if isinstance(run, dict) else run.history
    return {key: values for key, values in history.items() if key not in TIMED}


@pytest.fixture
def fresh(lab, monkeypatch):
    """The set-up with nothing trained yet."""
    monkeypatch.setitem(lab, "STORE", {})
    monkeypatch.setitem(lab, "RUNS", {})
    return lab


@pytest.fixture
def cache(fresh, monkeypatch, tmp_path):
    monkeypatch.setitem(fresh, "CACHE", tmp_path)
    return tmp_path


def again(lab):
    """Forget the session's runs, as a restarted kernel does."""
    lab["STORE"].clear()
    return lab


def test_baseline_is_the_assignments(lab):
    e = lab["Experiment"]("x")
    assert (e.activation, e.loss, e.optimizer) == ("sigmoid", "BinaryCrossentropy()", "SGD(learning_rate=0.01)")
    assert (e.batch_size, e.epochs, e.rescaling) == (128, 30, None)
    assert e.kernel_regularizer is None


@pytest.mark.parametrize(("pixels", "parameters"), [(784, 623_290), (3072, 2_417_082)])
def test_network(lab, pixels, parameters):
    model = lab["build_model"](lab["Experiment"]("x"), pixels)
    assert [(layer.units, layer.activation.__name__) for layer in model.layers] == [(784, "relu"), (10, "sigmoid")]
    assert model.count_params() == parameters


def test_regularizer_reaches_w_and_b_of_both_layers(lab):
    e = replace(lab["Experiment"]("x"), kernel_regularizer="L2(0.01)", bias_regularizer="L1(0.5)")
    for layer in lab["build_model"](e, 784).layers:
        assert float(layer.kernel_regularizer.l2) == pytest.approx(0.01)
        assert float(layer.bias_regularizer.l1) == pytest.approx(0.5)


def test_fields_hold_no_code(lab):
    for text in ("__import__('os')", "SGD(__import__('os'))", "SGD(open('x'))"):
        with pytest.raises((ValueError, AttributeError, SyntaxError)):
            lab["keras_object"](lab["keras"].optimizers, text)


def test_same_settings_same_numbers(fresh):
    e = fresh["Experiment"]("x")
    first = fresh["train"](e)
    second = again(fresh)["train"](e)
    assert numbers(first) == numbers(second)
    assert np.array_equal(first.predictions, second.predictions)
    assert numbers(again(fresh)["train"](replace(e, seed=7))) != numbers(first)


def test_side_by_side_gives_the_numbers_of_one_after_the_other(fresh, monkeypatch):
    e = fresh["Experiment"]("x")
    both = [e, replace(e, name="y", seed=1)]
    monkeypatch.setitem(fresh, "WORKERS", 2)
    parallel = fresh["train_all"](both)
    alone = again(fresh)["train_all"](both, alone=True)
    assert [numbers(run) for run in parallel] == [numbers(run) for run in alone]


def test_the_assignments_own_loop_gives_the_same_digits(fresh):
    """compile and fit as the assignment writes them, on the images in the same order."""
    keras, data = fresh["keras"], fresh["DATA"]["mnist"]
    run = fresh["train"](fresh["Experiment"]("x"))
    keras.utils.set_random_seed(fresh["SEED"])
    model = keras.Sequential(
        [keras.Input((784,)), keras.layers.Dense(784, activation="relu"), keras.layers.Dense(10, activation="sigmoid")]
    )
    loss = keras.losses.BinaryCrossentropy()
    model.compile(loss=loss, optimizer=keras.optimizers.SGD(learning_rate=0.01), metrics=["accuracy"])
    for epoch in range(run.epochs):
        order = np.random.default_rng([fresh["SEED"], epoch]).permutation(len(data.x["train"]))
        history = model.fit(
            data.x["train"][order],
            data.y["train"][order],
            validation_data=(data.x["dev"], data.y["dev"]),
            batch_size=128,
            shuffle=False,
            verbose=0,
        ).history
        for key, (value,) in history.items():
            assert value == run.history[key][epoch], f"{key} differs in epoch {epoch + 1}"


def test_batches_hold_every_image_once_in_order(lab):
    tensors = lab["tensors_of"](lab["DATA"]["mnist"], lab["Experiment"]("x"))["dev"]
    order = np.random.default_rng(0).permutation(len(tensors[0]))
    found = list(lab["batches"](tensors, 128, lab["tf"].constant(order)).as_numpy_iterator())
    whole, rest = divmod(len(order), 128)
    assert [len(x) for x, _ in found] == [128] * whole + [rest]
    for part, tensor in zip(zip(*found, strict=True), tensors, strict=True):
        assert np.array_equal(np.concatenate(part), tensor.numpy()[order])


def test_no_epoch_waits_for_the_autotuner(lab):
    """tf.data's tuning thread misses the end of an iterator at times; the epoch then sleeps for seconds."""
    tensors = lab["tensors_of"](lab["DATA"]["mnist"], lab["Experiment"]("x"))["dev"]
    assert lab["batches"](tensors, 128).options().autotune.enabled is False


def test_a_longer_run_goes_on_from_the_shorter(fresh):
    e = fresh["Experiment"]("x")
    short = fresh["train"](e)
    long = fresh["train"](replace(e, epochs=100))
    assert numbers(long)["loss"][: short.epochs] == short.history["loss"]
    assert numbers(again(fresh)["train"](replace(e, epochs=100))) == numbers(long)
    assert fresh["train"](e).metrics == short.metrics, "the milestone on the way is the short run"


def test_adam_goes_on_with_its_moments(fresh):
    e = replace(fresh["Experiment"]("x"), optimizer="Adam(learning_rate=0.001)")
    fresh["train"](e)
    long = fresh["train"](replace(e, epochs=100))
    assert numbers(again(fresh)["train"](replace(e, epochs=100))) == numbers(long)


def test_divergence_ends_that_run_only(fresh, monkeypatch):
    monkeypatch.setitem(fresh, "WORKERS", 2)
    e = fresh["Experiment"]("x")
    bad = replace(e, name="bad", loss="MeanSquaredError()", activation="linear", epochs=100)
    diverged, healthy = fresh["train_all"]([bad, e])
    assert diverged.diverged
    assert diverged.epochs < fresh["epochs_to_run"](100)
    assert "phân kỳ" in fresh["describe"](diverged)
    assert not healthy.diverged


def test_early_stopping_is_the_beginning_of_the_full_run(fresh):
    e = replace(fresh["Experiment"]("x"), epochs=100)
    full = numbers(fresh["train"](e))
    stopped = fresh["train"](replace(e, callback="EarlyStopping(monitor='val_accuracy', patience=1)"))
    assert stopped.epochs <= len(full["loss"])
    assert numbers(stopped)["loss"] == full["loss"][: stopped.epochs]


# One factor


def test_a_claim_refuses_two_factors(fresh):
    e = fresh["Experiment"]("x")
    a, b = fresh["train_all"]([e, replace(e, optimizer="Adam()", kernel_initializer="RandomNormal()")], alone=True)
    with pytest.raises(ValueError, match="more than one factor"):
        fresh["claim"]("…", "test", a, ">", b)


def test_every_comparison_of_the_notebook_differs_in_one_factor(record):
    factors = [{"kernel_regularizer", "bias_regularizer"}, {"loss", "activation", "labels"}, {"callback", "epochs"}]
    factors += [{f} for f in ("kernel_initializer", "bias_initializer", "optimizer", "batch_size", "rescaling")]
    runs = {run["id"]: run["experiment"] for run in record["runs"]}
    for c in record["claims"]:
        for a, b in zip(c["a"]["runs"], c["b"]["runs"], strict=False):
            changed = {key for key in runs[a] if key != "name" and runs[a][key] != runs[b][key]}
            assert any(changed <= factor for factor in factors), f"{c['yes']}: {sorted(changed)} differ"


def test_rmsprop_and_adam_differ_in_the_optimizer_alone(record):
    runs = {run["experiment"]["name"]: run["experiment"] for run in record["runs"]}
    rmsprop, adam = runs["Bài 4 RMSProp"], runs["Bài 4 Adam"]
    assert {k for k in adam if k != "name" and adam[k] != rmsprop[k]} == {"optimizer"}
    assert adam["optimizer"] == "Adam(learning_rate=0.001)"
    assert rmsprop["optimizer"] == "RMSprop(learning_rate=0.001)"


# The cache


def test_a_finished_run_comes_from_the_cache(fresh, cache):
    e = fresh["Experiment"]("x")
    first = fresh["train"](e)
    second = again(fresh)["train"](replace(e, name="another name"))
    assert "bộ nhớ đệm" in second.origin
    assert first.history == second.history
    assert all(np.array_equal(a, b) for a, b in zip(first.state, second.state, strict=True))
    assert "huấn luyện" in again(fresh)["train"](replace(e, seed=3)).origin, "another experiment must be trained"


@pytest.mark.parametrize("spoil", ["cut", "foreign", "empty", "pickle"])
def test_a_bad_cache_file_is_said_and_trained_again(fresh, cache, capsys, spoil):
    e = fresh["Experiment"]("x")
    first = fresh["train"](e)
    for path in cache.glob("*.npz"):
        whole = path.read_bytes()
        if spoil == "pickle":
            np.savez(path, about=np.array([{"history": {}}], dtype=object))
        else:
            path.write_bytes({"cut": whole[: len(whole) // 2], "foreign": b"%PDF-1.7 not ours", "empty": b""}[spoil])
    second = again(fresh)["train"](e)
    assert "tệp hỏng" in capsys.readouterr().out
    assert numbers(first) == numbers(second)


def test_a_full_disk_is_said_and_loses_nothing_else(fresh, cache, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    run = fresh["train"](fresh["Experiment"]("x"))
    assert run.metrics
    assert "KHÔNG ghi được vào bộ nhớ đệm" in capsys.readouterr().out
    assert not list(cache.iterdir()), "a failed write must leave nothing behind"


def rerun(lab, start: str):
    """Run again the set-up cell that contains `start`, as a student who changed a setting does."""
    (source,) = [cell for cell in set_up_cells(nbformat.read(NOTEBOOK, as_version=4)) if start in cell]
    return InteractiveShell.instance().run_cell(source, store_history=False)


def test_an_unwritable_cache_folder_is_said(lab, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setitem(lab, "CACHE_DIR", str(tmp_path / "file" / "cache"))
    rerun(lab, "CACHE = Path").raise_error()
    assert lab["CACHE"] is None
    assert "Không ghi được vào thư mục" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("PROFILE", "abc", "BTH2_PROFILE='abc' không hợp lệ: hãy chọn full hoặc quick."),
        ("SEED", -1, "SEED = -1 không hợp lệ"),
        ("SEED", "0", "SEED = '0' không hợp lệ"),
        ("WORKERS", "many", "BTH2_WORKERS='many' không hợp lệ"),
    ],
)
def test_a_bad_setting_is_one_sentence(lab, monkeypatch, setting, value, expected):
    monkeypatch.setitem(lab, setting, value)
    result = rerun(lab, "class UserError")
    (shown,) = result.error_in_exec._render_traceback_()
    assert expected in shown


# Killed in the middle

SCRIPT = """
import json, sys
sys.path.insert(0, "tests")
import nbformat
from conftest import NOTEBOOK, set_up_cells
from dataclasses import replace
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for source in set_up_cells(nbformat.read(NOTEBOOK, as_version=4)):
    shell.run_cell(source.replace('os.environ.get("BTH2_CACHE_DIR", ".bth2_cache")', repr(sys.argv[1])), False)
lab = shell.user_ns
print("READY", flush=True)
run = lab["train"](replace(lab["Experiment"]("x"), batch_size=8, epochs=100))
json.dump(run.history, open(sys.argv[2], "w"))
"""


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed(fresh, tmp_path):
    """KILLS=10 pytest -k killed for the long version; the moments are printed where the test fails."""
    wanted = numbers(fresh["train"](replace(fresh["Experiment"]("x"), batch_size=8, epochs=100)))
    cache, result, moments = tmp_path / "cache", tmp_path / "history.json", []
    for kill in range(int(os.environ.get("KILLS", "3")) + 1):
        command = [sys.executable, "-c", SCRIPT, str(cache), str(result)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            while "READY" not in (line := process.stdout.readline()):
                assert line, f"the process ended before it was ready, exit code {process.wait()}"
            if kill < int(os.environ.get("KILLS", "3")):
                moments.append(random.uniform(0, 4))
                time.sleep(moments[-1])
            else:
                process.communicate(timeout=300)
        finally:
            process.kill()
            process.wait(timeout=60)
    assert numbers({"history": json.loads(result.read_text())}) == wanted, f"killed after {moments} s"
