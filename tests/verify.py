"""Retrain everything and compare with the saved notebook: accuracies within 0.5 points, claims equal.

Run by `make verify`, never by `make test`: it takes as long as a full Run All, and uses no cache.
"""

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from conftest import NOTEBOOK, ROOT, find_record  # sets the quick profile; overridden below

os.environ["BTH2_PROFILE"] = "full"

import nbformat

from report.run import run as execute

TOLERANCE = 0.005


def main() -> int:
    saved = find_record(nbformat.read(NOTEBOOK, as_version=4))
    with tempfile.TemporaryDirectory() as folder:
        execute(NOTEBOOK, Path(folder), "full", ROOT)
        fresh = find_record(nbformat.read(Path(folder) / NOTEBOOK.name, as_version=4))
    different = []
    if [run["id"] for run in saved["runs"]] != [run["id"] for run in fresh["runs"]]:
        print("Các lần chạy không cùng thí nghiệm, dữ liệu hoặc phiên bản thư viện; so theo tên.")
    named = {run["experiment"]["name"]: run for run in fresh["runs"]}
    for run in saved["runs"]:
        name = run["experiment"]["name"]
        for part in ("train", "dev", "test"):
            a, b = run["metrics"][part]["accuracy"], named[name]["metrics"][part]["accuracy"]
            if abs(a - b) > TOLERANCE:
                different.append(f"{name}, accuracy {part}: {a:.4f} đã lưu, {b:.4f} chạy lại")
    for a, b in zip(saved["claims"], fresh["claims"], strict=True):
        if a["verdict"] != b["verdict"]:
            different.append(f"{a['section']}, {a['yes']}: {a['verdict']} đã lưu, {b['verdict']} chạy lại")
    print("\n".join(different) or f"{len(saved['runs'])} lần chạy và {len(saved['claims'])} nhận định đều khớp.")
    return bool(different)


if __name__ == "__main__":
    sys.exit(main())
