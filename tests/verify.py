"""Retrain everything and compare with the saved notebook: accuracies within 0.5 points, claims equal.

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
    runs = {run["experiment"]["name"]: run for run in fresh["runs"]}
    claims = {(c["section"], c["yes"]): c for c in fresh["claims"]}
    for run in saved["runs"]:
        name = run["experiment"]["name"]
        if name not in runs:
            found.append(f"{name}: không được chạy lại")
            continue
        for part in ("train", "dev", "test"):
            a, b = run["metrics"][part]["accuracy"], runs[name]["metrics"][part]["accuracy"]
            if abs(a - b) > TOLERANCE:
                found.append(f"{name}, accuracy {part}: {a:.4f} đã lưu, {b:.4f} chạy lại")
    for c in saved["claims"]:
        again = claims.get((c["section"], c["yes"]), {}).get("verdict", "không có")
        if c["verdict"] != again:
            found.append(f"{c['section']}, {c['yes']}: {c['verdict']} đã lưu, {again} chạy lại")
    return found


def main() -> int:
    saved = find_record(nbformat.read(NOTEBOOK, as_version=4))
    with tempfile.TemporaryDirectory() as folder:
        execute(NOTEBOOK, Path(folder), saved["profile"], ROOT)
        fresh = find_record(nbformat.read(Path(folder) / NOTEBOOK.name, as_version=4))
    found = differences(saved, fresh)
    print("\n".join(found) or f"{len(saved['runs'])} lần chạy và {len(saved['claims'])} nhận định đều khớp.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
