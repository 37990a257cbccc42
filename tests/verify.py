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


def marks(record: dict) -> dict[str, str]:
    """The mark of every expectation."""
    return {f"{key}, {v['text']}": v["mark"] for key, verdicts in record["verdicts"].items() for v in verdicts}


def said(record: dict) -> dict[str, list]:
    """What each text says, without its numbers: which readings stand, and the verdict of each comparison."""
    return {
        key: [call.get("stands", call.get("verdict")) for call in about["said"]]
        for key, about in record["texts"].items()
    }


def differences(saved: dict, fresh: dict) -> list[str]:
    """What a second run did not reproduce of the record of the first, in Vietnamese sentences."""
    found, again = [], {(run["name"], run["seed"], run["epochs"]): run for run in fresh["runs"].values()}
    for run in saved["runs"].values():
        name, key = f"{run['name']}, seed {run['seed']}", (run["name"], run["seed"], run["epochs"])
        if key not in again:
            found.append(f"{name}: không được chạy lại với {run['epochs']} epoch")
            continue
        for part in ("train", "dev", "test"):
            a, b = (r["metrics"][part]["accuracy"] or 0 for r in (run, again[key]))  # none where it diverged
            if abs(a - b) > TOLERANCE:
                found.append(f"{name}, accuracy {part}: {a:.4f} đã lưu, {b:.4f} chạy lại")
    for what, pair in {"kết quả": (marks(saved), marks(fresh)), "lời": (said(saved), said(fresh))}.items():
        for key in dict.fromkeys([*pair[0], *pair[1]]):
            a, b = (side.get(key, "không có") for side in pair)
            if a != b:
                found.append(f"{key}: {what} {a} đã lưu, {b} chạy lại")
    return found


def main() -> int:
    saved = find_record(nbformat.read(NOTEBOOK, as_version=4))
    with tempfile.TemporaryDirectory() as folder:
        execute(NOTEBOOK, Path(folder), saved["profile"], ROOT, saved["settings"]["seeds"])
        fresh = find_record(nbformat.read(Path(folder) / NOTEBOOK.name, as_version=4))
    found = differences(saved, fresh)
    print("\n".join(found) or f"{len(saved['runs'])} lần chạy và {len(marks(saved))} kỳ vọng đều khớp.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
