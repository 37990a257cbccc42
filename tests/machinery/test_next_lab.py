"""The next lab: this notebook's set-up with another data set and another exercise passes, and fails, all checks."""

import copy
import re

import nbformat
import pytest
from conftest import find_record, outputs
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from recompute import problems
from test_figures import wrong_figures

pytestmark = pytest.mark.slow
SETTINGS = {"DATASETS": '("fashion_mnist",)', "LAB, COURSE": '"BaiThucHanh3", "Một môn khác"'}
EXPECT = """
expect(
    "Bài 1 – Dropout",
    {
        "Có Dropout: khoảng cách train − dev hẹp hơn": lambda: gap(dropout) < gap(plain),
        "Mạng học được: accuracy test trên 10 %": lambda: test(dropout) > 10,
    },
)
"""
TRAIN = """
base = Experiment("Mạng cơ sở", dataset="fashion_mnist")
common = {"dataset": "fashion_mnist", "rescaling": 1 / 255, "optimizer": keras.optimizers.Nadam()}
dropout, plain = train_all(
    Experiment("Dropout", hidden=(64, keras.layers.Dropout(0.2), 32), **common),
    Experiment("Không Dropout", hidden=(64, 32), **common),
    seeds=5,
)
"""
SHOW = """
curves = draw_curves(
    "dropout",
    {"Dropout": dropout, "Không Dropout": plain},
    "Trước và sau khi thêm Dropout.",
    log=["data_loss"],
    marks={3: "muộn", 1: "sớm"},
)
rows = compare("bai1", [dropout, plain], [train_accuracy, dev, test, gap, norm], "Có và không có Dropout.")
"""
ANSWER = """
lead = when(gap(dropout) < gap(plain), "Dropout giảm overfitting", "Chưa thấy Dropout giảm overfitting")
answer(
    "Bài 1 – Dropout",
    f"{lead}: khoảng cách train − dev {change(gap, plain, dropout)} ({curves}).",
    f"Accuracy test {beside(test, dropout, plain)}, accuracy train {value(train_accuracy(dropout))} ({rows}).",
)
"""


def build(notebook) -> nbformat.NotebookNode:
    """The set-up and the last cells of the notebook around another exercise."""
    begins = [cell.cell_type == "markdown" and cell.source for cell in notebook.cells]
    first = next(i for i, text in enumerate(begins) if text and text.startswith("## Bài 1"))
    last = next(i for i, text in enumerate(begins) if text and re.search(r"^## Phụ lục", text, re.MULTILINE))
    kept = copy.deepcopy([*notebook.cells[:first], *notebook.cells[last + 1 :]])
    kept = [cell for cell in kept if 'only(DATA["mnist"]' not in cell.source]  # its sanity checks of a network
    for cell in [cell for cell in kept if cell.cell_type == "code"]:
        cell.outputs, cell.execution_count = [], None
        for name, value in {**SETTINGS, "main": "[dropout, plain]"}.items():
            cell.source = re.sub(rf"(?m)^{name} = [^#\n]*", f"{name} = {value}  ", cell.source)
    last = next(i for i, cell in enumerate(kept) if "# @title Tóm tắt và Bảng 1" in cell.source)
    exercise = [new_code_cell(source.strip()) for source in (EXPECT, TRAIN, SHOW, ANSWER)]
    cells = [*kept[:last], new_markdown_cell("## Bài 1 – Dropout"), *exercise, *kept[last:]]
    return new_notebook(cells=cells, metadata=notebook.metadata)


@pytest.fixture(scope="module")
def next_lab(notebook, tmp_path_factory) -> nbformat.NotebookNode:
    """The next lab, executed in a kernel that finds no data and no network."""
    lab, place = build(notebook), tmp_path_factory.mktemp("lab3")
    alone = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    alone |= {"BTH2_SEEDS": "2", "BTH2_DATA_DIR": "", "KERAS_HOME": str(place), "no_proxy": "", "NO_PROXY": ""}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in alone.items():
            patch.setenv(name, value)
        client = NotebookClient(lab, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(place)}})
        client.execute()
    return lab


def test_it_is_another_lab(next_lab):
    record = find_record(next_lab)
    assert (record["settings"]["lab"], record["settings"]["course"]) == ("BaiThucHanh3", "Một môn khác")
    assert {name: data["stand_in"] for name, data in record["data"].items()} == {"fashion_mnist": True}
    assert sorted((run["name"], run["seed"]) for run in record["runs"].values()) == [
        (name, seed) for name in ("Dropout", "Không Dropout") for seed in (0, 1)
    ]
    assert {run["settings"]["optimizer"]["class_name"] for run in record["runs"].values()} == {"Nadam"}
    layers = [run["settings"]["hidden"] for run in record["runs"].values() if run["name"] == "Dropout"]
    assert all((a, drop["class_name"], b) == (64, "Dropout", 32) for a, drop, b in layers)
    assert set(record["drawn"]) == {"samples", "dropout"}
    for panel in record["drawn"]["dropout"]:
        assert {x: text for text, _, x, _ in panel["texts"] if text.startswith(" ")} == {3: " muộn", 1: " sớm"}


def test_all_its_checks_hold(next_lab):
    found = problems(next_lab) + wrong_figures(next_lab)
    assert found == [], "\n".join(found)


def test_nothing_it_shows_is_of_this_lab(next_lab):
    shown = [o.data for cell in next_lab.cells for o in cell.get("outputs", [])]
    shown = [text for data in shown for mime, text in data.items() if mime != "image/png"]
    of_this_lab = re.compile(r"(?<!Fashion-)\bMNIST|CIFAR|BaiThucHanh2|Bài [2-9]|Mục \d")
    assert [text[:200] for text in shown if of_this_lab.search(text)] == []
    assert all("DỮ LIỆU THAY THẾ" in o.data["image/svg+xml"] for o in outputs(next_lab, "figure"))


def exchange(record):
    a, b = list(record["histories"])[:2]
    record["histories"][a], record["histories"][b] = record["histories"][b], record["histories"][a]


FORGERIES = {
    "an answer": lambda lab: outputs(lab, "answer")[0].data.update({"text/markdown": "**Dropout giảm overfitting.**"}),
    "a mark": lambda lab: find_record(lab)["verdicts"]["Bài 1 – Dropout"][0].update(mark="?"),
    "histories exchanged": lambda lab: exchange(find_record(lab)),
    "a line": lambda lab: find_record(lab)["drawn"]["dropout"][0]["lines"][0].update(style="--"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_its_forgeries_are_found(next_lab, name):
    forged = copy.deepcopy(next_lab)
    FORGERIES[name](forged)
    assert problems(forged) + wrong_figures(forged) != [], f"{name} was edited, and nothing was found"
