"""Recompute what a notebook shows from the record it carries, independently of the notebook's code.

``problems(notebook)`` lists, in words, all that does not follow; it serves the committed notebook and the one
that nbval has just executed in the quick profile alike.
"""

import json
import re
from hashlib import sha256
from xml.etree import ElementTree

import numpy as np
from conftest import find_record, outputs_of
from scipy.stats import t as student

NUMBER = r"−?\d[\d\u202f]*(?:,\d+)?"  # as vn() writes it
SETTINGS = {"0,0001", "0,001", "0,003", "0,005", "0,01", "0,05", "0,1", "0,3", "0,5", "0,9"}  # that a sentence may name


def series(values) -> np.ndarray:
    """A series of the record; null stands for NaN."""
    return np.array([np.nan if value is None else value for value in values], float)


def diverged(run: dict) -> bool:
    return not np.isfinite(series(run["history"]["loss"])[-1])


def accuracy(part: str):
    return lambda run: np.nan if diverged(run) else 100 * run["metrics"][part]["accuracy"]


def data_loss(part: str):
    return lambda run: run["metrics"][part]["data_loss"]


def late(run: dict) -> np.ndarray:
    return 100 * series(run["history"]["val_accuracy"])[-run["late"] :]


QUANTITIES = {
    "train": accuracy("train"),
    "dev": accuracy("dev"),
    "test": accuracy("test"),
    "gap": lambda run: accuracy("train")(run) - accuracy("dev")(run),
    "dev_late": lambda run: late(run).mean(),
    "swing": lambda run: np.nan if diverged(run) else np.abs(np.diff(late(run))).mean(),
    "first": lambda run: 100 * run["history"]["val_accuracy"][0],
    "top": lambda run: 100 * max(run["history"]["val_accuracy"]),
    "train_loss": data_loss("train"),
    "dev_loss": data_loss("dev"),
    "loss_gap": lambda run: data_loss("dev")(run) - data_loss("train")(run),
    "total_loss": lambda run: run["metrics"]["train"]["loss"],
    "bottom": lambda run: np.argmin(series(run["history"]["val_data_loss"])) + 1,
    "lowest": lambda run: np.min(series(run["history"]["val_data_loss"])),
    "rise": lambda run: 100 * (data_loss("dev")(run) / min(series(run["history"]["val_data_loss"])) - 1),
    "norm": lambda run: run["history"]["norm_1"][-1],
    "near_zero": lambda run: np.nan if diverged(run) else 100 * run["metrics"]["hidden"]["near_zero"],
    "dead": lambda run: np.nan if diverged(run) else 100 * run["metrics"]["hidden"]["dead"],
    "distinct": lambda run: run["metrics"]["hidden"]["distinct"],
    "epochs": lambda run: len(run["history"]["loss"]),
    "diverged": lambda run: float(diverged(run)),
    "seconds": lambda run: sum(run["history"]["seconds"]),
}


def number(text: str) -> float:
    """A Vietnamese number: decimal comma, true minus, narrow space between thousands."""
    return float(text.replace("\u202f", "").replace("−", "-").replace(",", "."))


def rounds_to(text: str, value: float) -> bool:
    """Whether a written number is the value, rounded to the digits that are shown."""
    digits = len(text.partition(",")[2])
    return abs(number(text) - value) <= 0.5001 * 10.0**-digits + 1e-8 * abs(value)


def says(text: str, value: float) -> bool:
    """Whether a cell or a sentence gives the value; a dash where there is none."""
    return rounds_to(text, value) if np.isfinite(value) else text == "–"


def close(a, b) -> bool:
    return bool(np.allclose(a, b, rtol=1e-6, atol=1e-6, equal_nan=True))


def runs_of(record: dict) -> dict[str, dict]:
    """The runs by id, each with its own part of the history that its training left."""
    found = {}
    for key, run in record["runs"].items():
        history = record["histories"][key.split("-")[0]]
        history = {name: values[: run["epochs"]] for name, values in history.items()}
        found[key] = run | {"history": history, "late": 10 if record["profile"] == "full" else 2}
    return found


def values_of(source: dict, runs: dict) -> np.ndarray | None:
    """The values of a measured quantity, seed by seed; None for numbers that are not of runs."""
    absolute = source["key"].startswith("|")
    first, operator, second = re.fullmatch(r"(\w+)(-?)(\w*)", source["key"].strip("|")).groups()
    if first not in QUANTITIES or "runs" not in source or first == "seconds":  # seconds of what a longer run repeated
        return None
    values = series([QUANTITIES[first](runs[key]) for key in source["runs"]])
    if operator and "against" in source:
        others = series([QUANTITIES[second](runs[key]) for key in source["against"]])
        count = min(len(values), len(others))
        values = values[:count] - others[:count]
    return abs(values) if absolute else values


def wrong_runs(record: dict) -> list[str]:
    """Runs whose own parts do not agree: lengths, and the last epoch against the final measurements."""
    wrong = []
    for key, run in runs_of(record).items():
        if {len(values) for values in run["history"].values()} != {run["epochs"]}:
            wrong.append(f"{run['name']} ({key}): its history has not one value for each of its epochs")
        for measured, logged in (("accuracy", "val_accuracy"), ("data_loss", "val_data_loss"), ("loss", "val_loss")):
            a, b = series([run["metrics"]["dev"][measured]]), series(run["history"][logged][-1:])
            if not np.allclose(a, b, rtol=2e-3, atol=5e-4, equal_nan=True):
                wrong.append(f"{run['name']} ({key}): dev {measured} is {a[0]}, the last epoch's is {b[0]}")
        best = run["metrics"]["train"]["accuracy"]
        if (
            run["epochs"] > 2
            and np.isfinite(series(run["history"]["loss"])).all()
            and run["history"]["accuracy"][-1] - best > 0.3
        ):
            wrong.append(f"{run['name']} ({key}): train accuracy {best} is far from that of its last epoch")
    return wrong


def differences(claim: dict) -> np.ndarray:
    """Seed by seed, a claim's left side less its right one; a number on the right stands for every seed."""
    a, b = (series(claim[side]["values"]) for side in "ab")
    if len(b) == 1 and "runs" not in claim["b"]:
        return a - b[0]
    count = min(len(a), len(b))
    return a[:count] - b[:count]


def p_value(claim: dict, record: dict, runs: dict) -> float | None:
    """Paired t-test over seeds; for one run the noise of the data set's reference runs."""
    d = differences(claim)
    if claim["relation"] == "=" or not np.isfinite(d).all():
        return None
    if len(d) > 1:
        if np.ptp(d) == 0:
            return 1.0  # no noise was measured
        return float(2 * student.sf(abs(d.mean()) / (d.std(ddof=1) / len(d) ** 0.5), len(d) - 1))
    keys = claim["a"].get("runs", [])
    reference = record["noise"].get(runs[keys[0]]["dataset"], []) if keys else []
    compared = [key for side in "ab" for key in claim[side].get("runs", [])]
    scales = {"rescaling" in runs[key]["changes"] for key in [*compared, *reference]}
    if not reference or claim["a"]["key"] not in QUANTITIES or len(scales) > 1:
        return None
    noise = np.std([QUANTITIES[claim["a"]["key"]](runs[key]) for key in reference], ddof=1)
    sides = 2 if "runs" in claim["b"] or claim["b"]["key"] != "number" else 1
    return float(2 * student.sf(abs(d[0]) / (noise * sides**0.5), len(reference) - 1))


def same_p(p: float | None, recorded: float | None, claim: dict) -> bool:
    """Whether two p-values are the same but for the record's nine digits, which weigh more where seeds differ little."""
    if p is None or recorded is None:
        return p is recorded
    d = differences(claim)
    largest = max(np.abs(series(claim[side]["values"])).max() for side in "ab")
    rounding = 1e-8 * largest / d.std(ddof=1) if len(d) > 1 and np.ptp(d) > 0 else 0
    return abs(p - recorded) <= (1e-5 + rounding) * p + 1e-9


def agrees(claim: dict) -> bool:
    d = differences(claim)
    if claim["relation"] == "=":
        bound = claim["tolerance"] * max(abs(series(claim["b"]["values"]).mean()), 1e-9)
        return bool(np.all(np.abs(d) <= bound + 1e-12))
    return bool(d.mean() > 0) if claim["relation"] == ">" else bool(d.mean() < 0)


def wrong_claims(record: dict) -> list[str]:
    """Claims, sentences and marks that do not follow from the runs."""
    runs, wrong = runs_of(record), []
    for told in [*record["sentences"], *record["predictions"]]:
        for claim in told["claims"]:
            for side in (claim["a"], claim["b"]):
                fresh = values_of(side, runs)
                if fresh is not None and not close(fresh, series(side["values"])):
                    wrong.append(f"{told['text']}: {side['key']} is {fresh}, not {side['values']}")
            p = p_value(claim, record, runs)
            if not same_p(p, claim["p"], claim):
                wrong.append(f"{told['text']}: p is {p}, not {claim['p']}")
            if claim["holds"] != ((agrees(claim) and (p is None or p < 0.05)) != claim["negated"]):
                wrong.append(f"{told['text']}: holds is {claim['holds']}")
        if told.get("stands") is False and not told["section"].startswith("Hình"):  # facts stand in its place
            numbers = re.findall(NUMBER, told["otherwise"])
            for side in [side for claim in told["claims"] for side in (claim["a"], claim["b"]) if "runs" in side]:
                if not any(rounds_to(text, series(side["values"]).mean()) for text in numbers):
                    wrong.append(f"{told['otherwise']}: {side['key']} is not among its numbers")
        if told.get("stands") not in (None, all(claim["holds"] for claim in told["claims"])):
            wrong.append(f"{told['text']}: it stands although its claims do not hold, or falls although they do")
    for section in dict.fromkeys(told["section"] for told in record["predictions"]):
        told = [p for p in record["predictions"] if p["section"] == section]
        tested = sorted(c["p"] for p in told for c in p["claims"] if c["p"] is not None)
        for prediction in told:
            marks = [mark_of(claim, tested) for claim in prediction["claims"]]
            mark = next((m for m in "✗≈–" if m in marks), "✓")
            if mark != prediction["mark"]:
                wrong.append(f"{section}, {prediction['text']}: the mark is {mark}, not {prediction['mark']}")
    return wrong


def mark_of(claim: dict, tested: list[float]) -> str:
    """The mark after Holm's correction over the p-values of the section."""
    if claim["relation"] == "=":
        return "✓" if agrees(claim) else "✗"
    if claim["p"] is None:
        finite = all(value is not None for side in "ab" for value in claim[side]["values"])
        return "–" if finite else "✗"
    rank = max(i for i, p in enumerate(tested) if p <= claim["p"])
    corrected = max(min(1.0, p * (len(tested) - i)) for i, p in enumerate(tested[: rank + 1]))
    return "≈" if corrected >= 0.05 else "✓" if agrees(claim) else "✗"


def wrong_texts(notebook, record: dict) -> list[str]:
    """Answers, captions and the abstract that are not what the recorded sentences say; numbers printed by nothing."""
    wrong, runs = [], runs_of(record)
    told = [s["text"] if s["stands"] else s["otherwise"] for s in record["sentences"]]
    sections = dict.fromkeys(s["section"] for s in record["sentences"] if not s["section"].startswith("Hình"))
    answers = [o.data["text/markdown"] for cell in notebook.cells for o in outputs_of(cell, "answer")]
    expected, first = [], {}
    for section in sections:
        prose = [text for s, text in zip(record["sentences"], told, strict=True) if s["section"] == section and text]
        expected.append(f"**{prose[0]}**\n\n{' '.join(prose[1:])}".strip())
        first[section] = prose[0]
    wrong += [
        f"an answer is not what its sentences say: {a}\nbut: {b}"
        for a, b in zip(answers, expected, strict=False)
        if a != b
    ]
    if len(answers) != len(expected):
        wrong.append(f"{len(answers)} answers for {len(expected)} sections")
    abstract = [o.data["text/markdown"] for cell in notebook.cells for o in outputs_of(cell, "abstract")]
    points = "\n".join(f"- **Bài {k}.** {first.get(f'Bài {k}')}" for k in range(1, 8))
    if abstract != [points]:
        wrong.append("the abstract is not the first sentences of the seven answers")
    numbers = {printed.split(" ")[0] for printed in record["printed"]} | SETTINGS
    for text in [s["text"] for s in record["sentences"] if s["stands"]]:
        foreign = set(re.findall(r"−?\d[\d\u202f]*,\d+", text)) - numbers
        wrong += [f"{number} was never measured: {text}" for number in foreign]
    for printed, source in record["printed"].items():
        text, values = printed.split(" ")[0], values_of(source, runs)
        if values is not None and not says(text, float(values.mean())):
            wrong.append(f"{printed} was printed, the runs give {values.mean()}")
    return wrong


def rows_of(table) -> list[list[str]]:
    lines = table.data["text/markdown"].split("\n")
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def wrong_tables(notebook, record: dict) -> list[str]:
    """Cells of the tables of runs that the record does not give, means and standard deviations."""
    wrong, runs = [], runs_of(record)
    for table in [o for cell in notebook.cells for kind in ("table", "front") for o in outputs_of(cell, kind)]:
        about, rows = table.metadata["bth2"], rows_of(table)[2:]
        if "ids" not in about:
            continue
        if len(rows) != len(about["ids"]):
            wrong.append(f"table {about['number']}: {len(rows)} rows for {len(about['ids'])} experiments")
        for row, ids in zip(rows, about["ids"], strict=False):
            for key, text in zip(about["quantities"], row[1:], strict=True):
                if key in ("", "seconds"):
                    continue
                values = series([QUANTITIES[key](runs[i]) for i in ids])
                shown = text.split("\u00a0±\u00a0")
                spread = np.ptp(values) > 1e-6 or len(shown) > 1  # the record's nine digits may differ in the last
                wanted = [values.mean(), *([values.std(ddof=1)] if spread else [])]
                if len(shown) != len(wanted) or not all(map(says, shown, wanted)):
                    wrong.append(f"table {about['number']}, {row[0]}, {key}: {text}, the runs give {wanted}")
    return wrong


def wrong_predictions(notebook, record: dict) -> list[str]:
    """Rows of the tables of predictions that are not the recorded ones: the text, the number, the mark."""
    tables = [o for cell in notebook.cells for o in outputs_of(cell, "predictions")]
    rows, wrong = [row for table in tables for row in rows_of(table)[2:]], []
    if len(rows) != len(record["predictions"]):
        wrong.append(f"{len(rows)} rows for {len(record['predictions'])} predictions")
    for (text, measured, result), told in zip(rows, record["predictions"], strict=False):
        value = series(told["claims"][0]["a"]["values"]).mean()
        if not any(says(number, value) for number in re.findall(rf"{NUMBER}|–", measured)):
            wrong.append(f"{told['text']}: {measured} was shown, the runs give {value}")
        mark = "một\u00a0lần\u00a0chạy" if told["mark"] == "–" else told["mark"]
        if text != told["text"] or not result.startswith(mark):
            wrong.append(f"{text} is shown as {result}, recorded is {told['text']}: {told['mark']}")
    return wrong


def wrong_figures(notebook, record: dict) -> list[str]:
    """Figures without both forms, empty ones, and captions under another figure."""
    wrong = []
    for figure in [o for cell in notebook.cells for o in outputs_of(cell, "figure")]:
        about = figure.metadata["bth2"]
        name = f"figure {about['number']}"
        if not {"image/png", "image/svg+xml", "text/plain"} <= set(figure.data):
            wrong.append(f"{name} has only {sorted(figure.data)}")
            continue
        root = ElementTree.fromstring(figure.data["image/svg+xml"].encode())
        title = root.findtext(".//{http://www.w3.org/2000/svg}title") or ""
        if " ".join(title.split()) != " ".join(f"Hình {about['number']}. {about['caption']}".split()):
            wrong.append(f"{name}: the picture's own title is {title!r}")
        if len(list(root.iter())) < 60:
            wrong.append(f"{name} is empty")
        lines = [s["text"] for s in record["sentences"] if s["section"] == f"Hình {about['number']}" and s["stands"]]
        if " ".join(lines) != about["caption"]:
            wrong.append(f"{name}: its caption is not the recorded sentence")
    return wrong


def wrong_hashes(notebook, record: dict) -> list[str]:
    """Tables that were not shown like this, and a record that was not written like this."""
    tables = [
        o.data["text/markdown"]
        for cell in notebook.cells
        for kind in ("table", "front")
        for o in outputs_of(cell, kind)
    ]
    wrong = []
    if sorted(sha256(text.encode()).hexdigest()[:16] for text in tables) != sorted(record["tables"]):
        wrong.append("a table is not what the notebook showed")
    rest = {key: value for key, value in record.items() if key != "sha256"}
    if sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest() != record["sha256"]:
        wrong.append("the record is not what the notebook wrote")
    return wrong


def problems(notebook) -> list[str]:
    """All that a notebook shows and its record does not give; empty for an honest one."""
    record = find_record(notebook)
    return [
        *wrong_hashes(notebook, record),
        *wrong_runs(record),
        *wrong_claims(record),
        *wrong_texts(notebook, record),
        *wrong_tables(notebook, record),
        *wrong_predictions(notebook, record),
        *wrong_figures(notebook, record),
    ]
