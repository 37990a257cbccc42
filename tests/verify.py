"""Retrain everything and compare with the saved notebook: accuracies within 0.5 points, marks and sentences equal.

Run by `make verify`, never by `make test`: it takes as long as the saved run (in the profile in which that
was saved), and uses no cache.
"""

import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import nbformat
from conftest import NOTEBOOK, ROOT, find_record  # sets that no cache is used

from report.run import run as execute

TOLERANCE = 0.005


def differences(saved: dict, fresh: dict) -> list[str]:
    """What a second run did not reproduce of the record of the first, in Vietnamese sentences."""
    found = []
    runs = {(run["name"], run["seed"]): run for run in fresh["runs"].values()}
    marks = {(p["section"], p["text"]): p["mark"] for p in fresh["predictions"]}
    for run in saved["runs"].values():
        name = f"{run['name']}, seed {run['seed']}"
        if (run["name"], run["seed"]) not in runs:
            found.append(f"{name}: không được chạy lại")
            continue
        for part in ("train", "dev", "test"):
            a, b = run["metrics"][part]["accuracy"], runs[run["name"], run["seed"]]["metrics"][part]["accuracy"]
            if abs(a - b) > TOLERANCE:
                found.append(f"{name}, accuracy {part}: {a:.4f} đã lưu, {b:.4f} chạy lại")
    for p in saved["predictions"]:
        again = marks.get((p["section"], p["text"]), "không có")
        if p["mark"] != again:
            found.append(f"{p['section']}, {p['text']}: {p['mark']} đã lưu, {again} chạy lại")
    stands = [s["stands"] for s in saved["sentences"]], [s["stands"] for s in fresh["sentences"]]
    if stands[0] != stands[1]:
        found.append("Có câu trả lời thay đổi giữa hai lần chạy.")
    return found


def main() -> int:
    saved = find_record(nbformat.read(NOTEBOOK, as_version=4))
    with tempfile.TemporaryDirectory() as folder:
        execute(NOTEBOOK, Path(folder), saved["profile"], ROOT)
        fresh = find_record(nbformat.read(Path(folder) / NOTEBOOK.name, as_version=4))
    found = differences(saved, fresh)
    print("\n".join(found) or f"{len(saved['runs'])} lần chạy và {len(saved['predictions'])} dự đoán đều khớp.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
