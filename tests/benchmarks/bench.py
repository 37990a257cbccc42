"""Seconds an epoch: the assignment's own code against the notebook's, in turn, A B A B, in one process tree.

Run by `make bench`. Each turn is a fresh process, so that both start alike. A is compile and fit with Keras's
defaults (all threads); B is the notebook's fit() alone (one thread), C is B in two threads side by side, as the
notebook runs independent experiments: its seconds are wall time for two epochs, halved. T, where torch is
installed, is PyTorch's plain loop on all threads. There are two limits, both measured in the same minute: the time
of the matrix products at the speed of such a product, and of the traffic of weights at the speed of a copy of as many
numbers. The histories of A, B and C must be equal to the last digit, or the benchmark fails. At the end: the whole
notebook against all that the assignment asks to be trained, as typed.
"""

import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
os.environ.update(BTH2_PROFILE="full", BTH2_CACHE_DIR="", TF_CPP_MIN_LOG_LEVEL="3")
TURNS = int(os.environ.get("TURNS", "2"))
# name: fields of the experiment, 1 / the share of train and dev, epochs that are measured
CASES = {
    "Bài 1 (batch 128)": ({}, 1, 4),
    "Bài 5 (batch 8, 1/5 epoch)": ({"batch_size": 8, "kernel_regularizer": "L2", "bias_regularizer": "L2"}, 5, 3),
    "CIFAR-10 (batch 128)": ({"dataset": "cifar10", "rescaling": 1 / 255}, 1, 3),
}
# Epochs of the eleven trainings that the assignment asks for: Bài 1, 2, 3 and 4 (two each) and 6; Bài 5; Bài 7 (1, 2,
# 6). Those with L2, RMSProp or Adam take longer than Bài 1, which stands for them.
AS_TYPED = dict(zip(CASES, (6 * 30 + 100, 30, 30 + 30 + 100), strict=True))


def set_up() -> dict:
    """The notebook's set-up in this process."""
    sys.path.insert(0, str(ROOT / "tests"))
    import nbformat
    from conftest import NOTEBOOK, set_up_cells
    from IPython.core.interactiveshell import InteractiveShell

    os.environ |= {"BTH2_PROFILE": "full", "CUDA_VISIBLE_DEVICES": "-1"}
    if WAY == "A":  # TensorFlow starts with as many threads as there are cores, whatever the notebook asks for then
        import tensorflow as tf

        tf.constant(0)
    shell = InteractiveShell.instance()
    for source in set_up_cells(nbformat.read(NOTEBOOK, as_version=4)):
        if "learnt = fit(" not in source:  # the sanity checks are not part of the measurement
            shell.run_cell(source, store_history=False).raise_error()
    return shell.user_ns


def limits(e, data) -> dict[str, float]:
    """Seconds an epoch of the matrix products alone, and of the traffic of weights alone, on all threads."""
    import numpy as np
    import tensorflow as tf

    (n, pixels), dev, batch = data.x["train"].shape, len(data.x["dev"]), e.batch_size
    a, w = (tf.constant(np.random.rand(*shape).astype(np.float32)) for shape in ((batch, pixels), (pixels, 784)))
    to = tf.Variable(w)

    @tf.function
    def products(times):
        total = 0.0
        for _ in tf.range(times):
            total += tf.matmul(a, w)[0, 0]
        return total

    @tf.function
    def copies(times):
        for _ in tf.range(times):
            to.assign(w + 1.0)

    usual = {}
    for work in (products, copies):
        work(5)
        usual[work] = statistics.median(timed(lambda work=work: work(50))[0] for _ in range(30)) / 50
    speed = 2 * batch * pixels * 784 / usual[products]  # floating-point operations a second
    first, second = 2 * pixels * 784, 2 * 784 * 10  # of one image, forward
    # An update reads W and writes its gradient, then reads both and writes W: five times W. A penalty reads W for its
    # value and for its gradient, and reads and writes the sum of gradients: four times more. A copy: twice.
    passes = 9 if e.kernel_regularizer else 5
    traffic = -(-n // batch) * passes / 2 * usual[copies] * (1 + 10 / pixels)
    return {"products": (n * (2 * first + 3 * second) + dev * (first + second)) / speed, "traffic": traffic}


def timed(work) -> tuple[float, object]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def literal(lab: dict, e, data, epochs: int):
    """The assignment's compile and fit, on the images in the notebook's order."""
    import numpy as np

    keras = lab["keras"]
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((data.x["train"].shape[1],))])
    if e.rescaling:
        model.add(keras.layers.Rescaling(e.rescaling))
    for units, activation in [(784, "relu"), (10, "sigmoid")]:
        kernel, bias = lab["fresh"](e.kernel_regularizer), lab["fresh"](e.bias_regularizer)
        model.add(keras.layers.Dense(units, activation, kernel_regularizer=kernel, bias_regularizer=bias))
    loss = keras.losses.BinaryCrossentropy()
    model.compile(loss=loss, optimizer=keras.optimizers.SGD(learning_rate=0.01), metrics=["accuracy"])
    history = {"seconds": []}
    for epoch in range(epochs):
        order = np.random.default_rng([0, epoch]).permutation(len(data.x["train"]))
        x, y = data.x["train"][order], lab["targets"](e, data.labels["train"])[order]
        fit = {"batch_size": e.batch_size, "shuffle": False, "verbose": 0}
        fit["validation_data"] = data.x["dev"], lab["targets"](e, data.labels["dev"])
        seconds, fitted = timed(lambda x=x, y=y, fit=fit: model.fit(x, y, **fit))
        history["seconds"].append(seconds)
        for key, (value,) in fitted.history.items():
            history.setdefault(key, []).append(value)
    return history


def torch_loop(e, data, epochs: int) -> dict:
    """What one would write in PyTorch: the same network, loss and updates, on batches of tensors."""
    import numpy as np
    import torch

    torch.manual_seed(0)
    pixels, scale = data.x["train"].shape[1], e.rescaling or 1
    model = torch.nn.Sequential(
        torch.nn.Linear(pixels, 784), torch.nn.ReLU(), torch.nn.Linear(784, 10), torch.nn.Sigmoid()
    )
    decay = 2 * float(e.kernel_regularizer.l2) if e.kernel_regularizer else 0  # of the gradient: the penalty's is 2λw
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, weight_decay=decay)
    x = {part: torch.from_numpy(images.astype(np.float32) * scale) for part, images in data.x.items()}
    y = {part: torch.nn.functional.one_hot(torch.from_numpy(n), 10).float() for part, n in data.labels.items()}
    history = {"seconds": []}
    for _ in range(epochs):
        start = time.perf_counter()
        for rows in torch.randperm(len(x["train"])).split(e.batch_size):
            optimizer.zero_grad()
            torch.nn.functional.binary_cross_entropy(model(x["train"][rows]), y["train"][rows]).backward()
            optimizer.step()
        with torch.no_grad():
            torch.nn.functional.binary_cross_entropy(model(x["dev"]), y["dev"])
        history["seconds"].append(time.perf_counter() - start)
    return history


def turn(case: str) -> None:
    """One measurement, printed as JSON; runs in a process of its own."""
    from dataclasses import replace

    lab = set_up()
    changes, share, epochs = CASES[case]
    e = lab["Experiment"](case, epochs=epochs, **{k: lab["L2"](0.01) if v == "L2" else v for k, v in changes.items()})
    data = lab["prepare"](e.dataset)
    x, labels = (
        {part: values[: len(values) // (1 if part == "test" else share)] for part, values in parts.items()}
        for parts in (data.x, data.labels)
    )
    data = replace(data, x=x, labels=labels)
    if WAY == "A":
        history = literal(lab, e, data, epochs) | {"limits": limits(e, data)}
    elif WAY == "T":
        history = torch_loop(e, data, epochs)
    else:
        with ThreadPoolExecutor(2) as pool:
            runs = list(pool.map(lambda _: lab["fit"](e, 0, data), range(2 if WAY == "C" else 1)))
        history = runs[0].history | {
            "again": runs[-1].history["loss"],
            "work": lab["WHOLE_WORK"],
            "stand_in": data.stand_in,
        }
    print("RESULT" + json.dumps(history), flush=True)


def start(way: str, case: str) -> subprocess.Popen:
    command = [sys.executable, __file__, way, case]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def result(process: subprocess.Popen) -> dict:
    output, _ = process.communicate(timeout=1800)
    lines = [line for line in output.splitlines() if line.startswith("RESULT")]
    if not lines:
        sys.exit(f"Một lần đo đã hỏng (mã {process.returncode}).")
    return json.loads(lines[0][len("RESULT") :])


def main() -> int:
    print(
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} nhân CPU; giây mỗi epoch, trung vị {TURNS} lượt\n"
    )
    print(
        "| Bài | A: mã của đề | B: một mình | C: song song | A/B | A/C | Phép nhân | Bộ nhớ | C/lớn hơn | T: PyTorch |"
    )
    print("| :-- | --: | --: | --: | --: | --: | --: | --: | --: | --: |")
    torch = importlib.util.find_spec("torch") is not None
    equal, typed, own, work = True, 0.0, 0.0, {}
    for case, (_, share, _) in CASES.items():
        ways, bounds = {way: [] for way in "ABCT"}, []
        for _ in range(TURNS):
            found = {way: result(start(way, case)) for way in ("ABCT" if torch else "ABC")}
            bounds.append(found["A"].pop("limits"))
            for history in (found["B"], found["C"]):
                equal &= all(found["A"][key] == history[key] for key in found["A"] if key != "seconds")
                equal &= history["again"] == history["loss"]
            for way, history in found.items():
                ways[way].append(statistics.median(history["seconds"][1:]) / (2 if way == "C" else 1))
        a, b, c = (statistics.median(ways[way]) for way in "ABC")
        products, traffic = (statistics.median(bound[kind] for bound in bounds) for kind in ("products", "traffic"))
        t = f"{statistics.median(ways['T']):.2f}" if torch else "–"
        ratios = f"{a / b:.1f} | {a / c:.1f} | {products:.2f} | {traffic:.2f} | {c / max(products, traffic):.1f}"
        print(f"| {case} | {a:.2f} | {b:.2f} | {c:.2f} | {ratios} | {t} |")
        typed += AS_TYPED[case] * share * a / 60
        if found["B"]["stand_in"]:
            print(f"{case}: dữ liệu thay thế, ít ảnh hơn nhiều; đặt BTH2_DATA_DIR để đo trên dữ liệu thật.")
        own, work = own or c / 60, found["B"]["work"]  # of an epoch of Bài 1, in which the notebook counts its work
    print(f"\nMọi lần huấn luyện mà đề yêu cầu, bằng mã của đề: khoảng {typed:.0f} phút.")
    for seeds in (max(work, key=int), "1"):
        minutes = work[seeds] * own
        print(f"Cả notebook, SEEDS = {seeds}: khoảng {minutes:.0f} phút, {minutes / typed:.2f} lần mã của đề.")
    print("\n" + ("Lịch sử bằng nhau tới chữ số cuối." if equal else "LỖI: cách chạy đã làm đổi lịch sử."))
    return not equal


WAY = sys.argv[1] if len(sys.argv) > 1 else ""
if __name__ == "__main__":
    if WAY:
        turn(sys.argv[2])
    else:
        sys.exit(main())
