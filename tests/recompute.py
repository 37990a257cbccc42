"""Recompute what a notebook claims from the record it carries, independently of the notebook's code."""

import base64
import re
import zlib

import numpy as np
from conftest import find_record, outputs_of
from scipy.stats import binomtest

NUMBER = r"−?\d+(?:,\d+)?(?:e[+−]?\d+)?"  # as vn() writes it
TOLERANCE = 2e-6  # float32 means, and nine digits kept


def unpack(text: str) -> np.ndarray:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)


def finite(values) -> np.ndarray:
    """A series of the record; null stands for NaN."""
    return np.array([np.nan if value is None else value for value in values], float)


def metric(part: str, key: str, factor: float = 1):
    return lambda run: factor * run["metrics"][part][key]


def difference(key: str, factor: float, plus: str, minus: str):
    return lambda run: factor * (run["metrics"][plus][key] - run["metrics"][minus][key])


QUANTITIES = {
    "train": metric("train", "accuracy", 100),
    "dev": metric("dev", "accuracy", 100),
    "test": metric("test", "accuracy", 100),
    "gap": difference("accuracy", 100, "train", "dev"),
    "train_loss": metric("train", "data_loss"),
    "dev_loss": metric("dev", "data_loss"),
    "loss_gap": difference("data_loss", 1, "dev", "train"),
    "norm": lambda run: run["history"]["norm_1"][-1],
    "near_zero": metric("hidden", "near_zero", 100),
    "dead": metric("hidden", "dead", 100),
    "distinct": metric("hidden", "distinct"),
    "noise": lambda run: np.std(np.diff(finite(run["history"]["val_data_loss"])[-11:])),
    "pace": lambda run: np.median(run["history"]["seconds"]),
    "first": lambda run: 100 * run["history"]["val_accuracy"][0],
    "seconds": lambda run: sum(run["history"]["seconds"]),
    "epochs": lambda run: len(run["history"]["loss"]),
    "finite": lambda run: np.isfinite(finite(run["history"]["loss"])).sum(),
    "best_epoch": lambda run: np.nanargmin(finite(run["history"]["val_data_loss"])) + 1,
    "rise": lambda run: (
        100 * (finite(run["history"]["val_data_loss"])[-1] / np.nanmin(finite(run["history"]["val_data_loss"])) - 1)
    ),
}
LABELS = {
    "Train, %": "train", "Dev, %": "dev", "Test, %": "test",
    "Train − dev, điểm": "gap", "Mất mát train": "train_loss", "Mất mát dev": "dev_loss",
    "Mất mát dev − train": "loss_gap", "Chuẩn ‖W₁‖": "norm", "Trọng số W₁ gần 0 (dưới 0,001), %": "near_zero",
    "Đơn vị ẩn chết, %": "dead", "Số đơn vị ẩn khác nhau": "distinct", "Dao động của mất mát dev": "noise",
    "Giây mỗi epoch, s": "pace", "Dev sau epoch 1, %": "first", "Tổng số giây, s": "seconds",
    "Epoch có mất mát dev thấp nhất": "best_epoch", "Mất mát dev cuối cao hơn mức thấp nhất, %": "rise",
    "Train (%)": "train", "Dev (%)": "dev", "Test (%)": "test", "Train − dev": "gap", "Epoch": "epochs",
    "Giây": "seconds",
}  # fmt: skip


def close(a, b) -> bool:
    return bool(np.isclose(a, b, rtol=1e-5, atol=TOLERANCE, equal_nan=True))


def number(text: str) -> float:
    """A Vietnamese number: decimal comma, true minus."""
    return float(text.replace("−", "-").replace(",", "."))


def mcnemar(record: dict, a: dict, b: dict) -> float:
    truth = unpack(record["data"][a["experiment"]["dataset"]]["test_labels"])
    right_a, right_b = unpack(a["predictions"]) == truth, unpack(b["predictions"]) == truth
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    return binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0


def wrong_runs(record: dict) -> list[str]:
    """Runs whose own parts do not agree: predictions, metrics, history."""
    wrong = []
    for run in record["runs"]:
        name, e = run["experiment"]["name"], run["experiment"]
        truth = unpack(record["data"][e["dataset"]]["test_labels"])
        accuracy = (unpack(run["predictions"]) == truth).mean()
        if abs(accuracy - run["metrics"]["test"]["accuracy"]) > TOLERANCE:
            wrong.append(f"{name}: its predictions give accuracy {accuracy}, not {run['metrics']['test']['accuracy']}")
        if len({len(series) for series in run["history"].values()}) != 1:
            wrong.append(f"{name}: the series of its history differ in length")
        last = run["history"]["val_accuracy"][-1]
        if not e["callback"] and abs(last - run["metrics"]["dev"]["accuracy"]) > 5e-4:
            wrong.append(f"{name}: the last epoch's dev accuracy {last} is not the final one")
    return wrong


def contrasts(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Seed by seed, or one value against each of the other side."""
    return a - b if len(a) == len(b) else np.subtract.outer(a, b).ravel()


def verdict_of(c: dict, differences: np.ndarray, p: float | None) -> str:
    if not np.all(np.isfinite(differences)):
        return "✗"
    if c["relation"] == "=":
        return "✓" if max(map(abs, differences)) < 1e-9 else "✗"
    if c["relation"] == "~":
        return "✓" if p >= 0.05 else "✗"
    if p is not None and p >= 0.05:
        return "≈"
    signed = [d if c["relation"] == ">" else -d for d in differences]
    if min(signed) > c["margin"]:
        return "✓"
    return "✗" if max(signed) <= -c["margin"] else "≈"


def wrong_claims(record: dict) -> list[str]:
    """Claims whose values, p-values or verdict do not follow from the runs."""
    runs, wrong, sections = {run["id"]: run for run in record["runs"]}, [], {}
    for c in record["claims"]:
        sections.setdefault(c["section"], []).append(c)
        for side in (c["a"], c["b"]):
            if side["runs"] and c["quantity"] in QUANTITIES:
                fresh = [float(QUANTITIES[c["quantity"]](runs[key])) for key in side["runs"]]
                if not all(map(close, fresh, finite(side["values"]))):
                    wrong.append(f"{c['yes']}: {side['name']} is {fresh}, not {side['values']}")
    for claims in sections.values():
        tested = []
        for c in claims:
            if c["quantity"] == "test" and c["a"]["runs"] and c["b"]["runs"]:
                pairs = zip(c["a"]["runs"], c["b"]["runs"], strict=True)
                tested.append((max(mcnemar(record, runs[a], runs[b]) for a, b in pairs), c))
        largest, holm = 0.0, {}
        for rank, (p, c) in enumerate(sorted(tested, key=lambda pair: pair[0])):
            largest = max(largest, min(1.0, p * (len(tested) - rank)))
            holm[c["yes"]] = largest
        for c in claims:
            p = holm.get(c["yes"])
            if (p is None) != (c["p_holm"] is None) or (p is not None and not close(p, c["p_holm"])):
                wrong.append(f"{c['yes']}: Holm's p is {p}, not {c['p_holm']}")
            differences = contrasts(finite(c["a"]["values"]), finite(c["b"]["values"]))
            fresh = verdict_of(c, differences, p)
            if fresh != c["verdict"]:
                wrong.append(f"{c['yes']}: the verdict is {fresh}, not {c['verdict']}")
            shown = [np.mean(finite(c[side]["values"])) for side in "ab"]
            shown += [min(differences), max(differences)] if len(differences) > 1 else []
            for value in shown:
                if not written_in(c["evidence"], value):
                    wrong.append(f"{c['yes']}: {value} is not in its evidence, {c['evidence']}")
    return wrong


def rounds_to(written: str, value: float) -> bool:
    """Whether a written number is the value, rounded to the digits that are shown."""
    mantissa, _, exponent = written.partition("e")
    unit = 10.0 ** (number(exponent or "0") - len(mantissa.partition(",")[2]))
    return abs(number(mantissa) * 10.0 ** number(exponent or "0") - value) <= 0.51 * unit + 1e-9 * abs(value)


def written_in(text: str, value: float) -> bool:
    if not np.isfinite(value):
        return "không xác định" in text
    return any(rounds_to(found, value) for found in re.findall(NUMBER, text))


def wrong_answers(notebook, record: dict) -> list[str]:
    """Answers whose text is not what the claims say."""
    wrong, sections = [], {}
    for c in record["claims"]:
        sections.setdefault(c["section"], []).append(c)
    answers = [o.data["text/markdown"] for cell in notebook.cells for o in outputs_of(cell, "answer")]
    if len(answers) != len(sections):
        return [f"{len(answers)} answers for {len(sections)} sections of claims"]
    for answer, (section, claims) in zip(answers, sections.items(), strict=True):
        expected = []
        for c in claims:
            reason = {"✓": c["because"], "✗": c["otherwise"]}.get(c["verdict"], "")
            first = f"**{c['headline']}.** {c['verdict']}" if c is claims[0] else f"- {c['verdict']} {c['yes']}."
            expected.append(f"{first} *{c['evidence']}.* {reason}".strip())
        expected.insert(1, "")
        expected = "\n".join(expected).strip()
        if answer != expected:
            wrong.append(f"the answer of {section} is not what its claims say:\n{answer}\nbut\n{expected}")
        if {"✓": claims[0]["yes"], "✗": claims[0]["no"]}.get(claims[0]["verdict"], "Chưa đủ") not in answer:
            wrong.append(f"the first sentence of {section} does not follow from its first claim")
    return wrong


def wrong_tables(notebook, record: dict) -> list[str]:
    """Cells of the tables of runs that the record does not give."""
    wrong, named = [], {}
    for run in record["runs"]:
        named.setdefault(run["experiment"]["name"], run)
    tables = [o for cell in notebook.cells for kind in ("table", "front") for o in outputs_of(cell, kind)]
    for table in tables:
        lines = table.data["text/markdown"].split("\n")
        rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
        if rows[0][0] != "Lần chạy":
            continue
        for row in rows[2:]:
            name = row[0].removesuffix(" (phân kỳ)")
            if name not in named:  # a run that stands elsewhere under its first name
                continue
            for label, text in list(zip(rows[0], row, strict=True))[1:]:
                if label not in LABELS or "không xác định" in text:
                    continue
                value = QUANTITIES[LABELS[label]]
                seeds = [named[name], *(run for key, run in named.items() if key.startswith(f"{name}, seed "))]
                groups = [seeds] if re.search(r"\(.*–.*\)", text) else [seeds[:1]]
                if LABELS[label] in ("pace", "seconds"):  # shown without a range
                    groups = [seeds, seeds[:1]]
                if not any(written_in(text, float(np.mean([value(run) for run in group]))) for group in groups):
                    wrong.append(f"table {table.metadata['bth2']['number']}, {name}, {label}: {text} is not measured")
    return wrong


def problems(notebook) -> list[str]:
    """All that a notebook shows and its record does not give; empty for an honest one."""
    record = find_record(notebook)
    return [
        *wrong_runs(record),
        *wrong_claims(record),
        *wrong_answers(notebook, record),
        *wrong_tables(notebook, record),
    ]
