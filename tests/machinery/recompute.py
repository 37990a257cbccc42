"""Say again what a notebook says, from the record it carries, independently of the notebook's code.

``problems(notebook)`` lists, in words, all that does not follow; it serves the committed notebook, the one that nbval
has just executed in the quick profile, and any other lab written with the same machinery.
"""

import re
from hashlib import sha256

import numpy as np
from conftest import find_record, outputs
from scipy.stats import ttest_1samp

DECIMAL = r"−?\d[\d\u202f]*,\d+"  # as vn() writes it
PERCENT, POINTS = "\u00a0%", "\u00a0điểm phần trăm"
# What may be said: before, after, unit; by the verdict that the runs give.
WORDS = {
    "change": {
        ">": "giảm từ {a} xuống {b}{unit}",
        "<": "tăng từ {a} lên {b}{unit}",
        "=": "vẫn là {b}{unit}",
        "≈": "không đổi rõ rệt ({a} và {b}{unit})",
        "1": "từ {a} thành {b}{unit}",
        "but": "là ",  # before what cannot be compared
    },
    "beside": {
        ">": "{a}{unit}, cao hơn mức {b}{unit}",
        "<": "{a}{unit}, thấp hơn mức {b}{unit}",
        "=": "{a}{unit}, bằng mức {b}{unit}",
        "≈": "{a}{unit}, không khác rõ rệt mức {b}{unit}",
        "1": "{a} so với {b}{unit}",
        "but": "",
    },
}
DIVERGED = "{a} và {b}{unit} (có lần chạy phân kỳ nên không so được)"
SEVERAL = "{a} và {b}{unit} (khác nhau ở {factors} nên không so được)"
MARKS = {"✓": "✓\u00a0đúng", "✗": "✗\u00a0sai", "≈": "≈\u00a0chưa\u00a0rõ", "–": "không\u00a0chấm"}


def series(values) -> np.ndarray:
    """A series of the record; null stands for NaN."""
    return np.array([np.nan if value is None else value for value in values], float)


def written(value: float, digits: int) -> str:
    """A number as the notebook writes it."""
    if not np.isfinite(value):
        return "–"
    whole, _, rest = f"{abs(round(value, digits)):,.{digits}f}".partition(".")
    sign = "−" if round(value, digits) < 0 else ""
    return sign + whole.replace(",", "\u202f") + ("," + rest if rest else "")


def same_text(text: str, pattern: str, values: list[float], *digits: int) -> bool:
    """Whether a text is the pattern with the values in it; the last digit may differ where the record was rounded."""
    found = re.fullmatch(re.escape(pattern).replace("@", r"(–|−?\d[\d\u202f]*(?:,\d+)?)"), text)
    if not found:
        return False
    for i, (shown, value) in enumerate(zip(found.groups(), values, strict=True)):
        near = {written(value * (1 + shift), digits[min(i, len(digits) - 1)]) for shift in (-1e-8, 0, 1e-8)}
        if shown not in near:
            return False
    return True


# Quantities, by their keys in the record


def diverged(run: dict) -> bool:
    return not np.isfinite(series(run["history"]["loss"])[-1])


def part(name: str, metric: str, scale: float = 1):
    return lambda run: scale * (np.nan if run["metrics"][name][metric] is None else run["metrics"][name][metric])


def history(name: str, pick, scale: float = 1):
    return lambda run: scale * pick(series(run["history"][name]))


def late(run: dict) -> np.ndarray:
    return 100 * series(run["history"]["val_accuracy"])[-run["late"] :]


QUANTITIES = {
    "train": part("train", "accuracy", 100),
    "dev": part("dev", "accuracy", 100),
    "test": part("test", "accuracy", 100),
    "gap": lambda run: part("train", "accuracy", 100)(run) - part("dev", "accuracy", 100)(run),
    "train_loss": part("train", "data_loss"),
    "dev_loss": part("dev", "data_loss"),
    "loss_gap": lambda run: part("dev", "data_loss")(run) - part("train", "data_loss")(run),
    "near_zero": part("hidden", "near_zero", 100),
    "distinct": part("hidden", "distinct"),
    "dev_late": lambda run: late(run).mean(),
    "swing": lambda run: np.abs(np.diff(100 * series(run["history"]["val_accuracy"])[run["epochs"] // 3 :])).mean(),
    "first": history("val_accuracy", lambda x: x[0], 100),
    "peak_epoch": history("val_accuracy", lambda x: 1 + np.argmax(x)),
    "bottom": history("val_data_loss", lambda x: 1 + np.argmin(x)),
    "norm": history("norm_1", lambda x: x[-1]),
    "norm_soon": history("norm_1", lambda x: x[0]),
    "dead": history("dead", lambda x: x[-1], 100),
    "dead_soon": history("dead", lambda x: x[0], 100),
    "pace": history("seconds", np.min),
    "diverged": lambda run: float(diverged(run)),
}
OF_ACCURACY = {PERCENT, POINTS}


def stop_at(values: np.ndarray, better, patience: int = 2) -> int:
    """The epoch, from 1, at which early stopping ends: so many epochs in a row without a better value."""
    best, waited = values[0], 0
    for epoch, value in enumerate(values[1:], start=2):
        best, waited = (value, 0) if better(value, best) else (best, waited + 1)
        if waited == patience:
            return epoch
    return len(values)


def quantity(key: str):
    """The function of a run for a key of the record; None for what has no runs to be recomputed from."""
    if key.startswith("dev_at_"):
        return history("val_accuracy", lambda x: x[int(key.removeprefix("dev_at_")) - 1], 100)
    name, _, monitor = key.partition(" ")
    if monitor:
        better = np.greater if "accuracy" in monitor else np.less
        metric, scale = {"stop": (None, 1), "dev": ("val_accuracy", 100), "dev_loss": ("val_data_loss", 1)}[name]
        end = history(monitor, lambda x: stop_at(x, better))
        return end if metric is None else lambda run: scale * series(run["history"][metric])[int(end(run)) - 1]
    return QUANTITIES.get(key)


def runs_of(record: dict) -> dict[str, dict]:
    """The runs by id, each with its own part of the history that its training left."""
    found = {}
    for key, run in record["runs"].items():
        whole = record["histories"][key.split("-")[0]]
        own = {name: values[: run["epochs"]] for name, values in whole.items()}
        found[key] = run | {"history": own, "late": record["late"]}
    return found


def values_of(side: dict, runs: dict) -> np.ndarray:
    """One side of a comparison, seed by seed, from the runs; as recorded where it is no quantity of runs."""
    measure = quantity(side["key"])
    if not side["runs"] or measure is None:
        return series(side["values"])
    lost = [side["unit"] in OF_ACCURACY and diverged(runs[key]) for key in side["runs"]]
    return np.array([np.nan if gone else measure(runs[key]) for gone, key in zip(lost, side["runs"], strict=True)])


# Comparisons


class Comparison:
    """A claim of the record, compared anew."""

    def __init__(self, claim: dict, runs: dict):
        self.claim, self.relation = claim, claim["relation"]
        self.a, self.b = values_of(claim["a"], runs), values_of(claim["b"], runs)
        count = min(len(self.a), len(self.b))
        self.d = self.a[:count] - self.b[:count]

    def p(self) -> float | None:
        if self.relation == "=" or len(self.d) < 2 or not np.isfinite(self.d).all():
            return None
        return 1.0 if np.ptp(self.d) < 1e-7 else float(ttest_1samp(self.d, 0).pvalue)

    def agrees(self) -> bool:
        if self.relation == "=":
            return bool(np.all(np.abs(self.d) <= self.claim["tolerance"] * max(abs(self.b.mean()), 1e-9) + 1e-12))
        return bool(self.d.mean() > 0) if self.relation == ">" else bool(self.d.mean() < 0)

    def holds(self) -> bool:
        p = self.p()
        return not self.claim["factors"] and self.agrees() and (p is None or p < 0.05)

    def mark(self) -> str:
        p = self.p()
        if self.claim["factors"] or not np.isfinite(self.d).all() or (p is None and self.relation != "="):
            return "–"
        return "≈" if p is not None and p >= 0.05 else "✓" if self.agrees() else "✗"

    def wrong(self) -> list[str]:
        """What the record says of the comparison and the runs do not."""
        found = []
        for side, fresh in (("a", self.a), ("b", self.b)):
            if not np.allclose(fresh, series(self.claim[side]["values"]), rtol=1e-6, atol=1e-6, equal_nan=True):
                found.append(f"{self.claim[side]['key']} is {fresh}, not {self.claim[side]['values']}")
        p, recorded = self.p(), self.claim["p"]
        if (p is None) != (recorded is None) or (p is not None and abs(p - recorded) > 1e-3 * recorded + 1e-6):
            found.append(f"p is {p}, not {recorded}")
        if self.holds() != self.claim["holds"]:
            found.append(f"holds is {self.claim['holds']}")
        return found

    def verdict(self, digits: int) -> str:
        if np.all(np.abs(self.d) < 1e-7):
            return "="
        if self.p() is None:
            return "1"
        unclear = self.p() >= 0.05 or written(self.a.mean(), digits) == written(self.b.mean(), digits)
        return "≈" if unclear else ">" if self.agrees() else "<"


def wrong_call(call: dict, runs: dict) -> list[str]:
    """What a call should have said, and did not."""
    comparisons = [Comparison(claim, runs) for claim in call["claims"]]
    wrong = [problem for comparison in comparisons for problem in comparison.wrong()]
    if call["call"] == "value":
        side = call["a"]
        mean = values_of(side, runs).mean()
        if not same_text(call["text"], f"@{side['unit']}", [mean], side["digits"]):
            wrong.append(f"the value is {mean}")
    elif call["call"] == "when":
        stands = all(comparison.holds() for comparison in comparisons)
        if call["text"] != call["texts"][0 if stands else 1]:
            wrong.append(f"its condition {'holds' if stands else 'does not hold'}")
    else:
        (comparison,) = comparisons
        a, b, factors = comparison.claim["a"], comparison.claim["b"], comparison.claim["factors"]
        words = WORDS[call["call"]]
        refused = SEVERAL if factors else "" if np.isfinite(comparison.d).all() else DIVERGED
        form = words["but"] + refused if refused else words[comparison.verdict(a["digits"])]
        pattern = form.format(a="@", b="@", unit=a["unit"], factors=", ".join(factors))
        means = [comparison.a.mean(), comparison.b.mean()] if "{a}" in form else [comparison.b.mean()]
        if not same_text(call["text"], pattern, means, a["digits"]):
            wrong.append(f"the runs say: {pattern} with {means}")
        if b["runs"] and (a["digits"], a["unit"]) != (b["digits"], b["unit"]):
            wrong.append("two quantities of different units are compared")
    return [f"“{call['text']}”: {problem}" for problem in wrong]


def wrong_texts(notebook, record: dict) -> list[str]:
    """Calls that do not follow from the runs, and texts that are not made of their calls."""
    runs, wrong = runs_of(record), []
    shown = {o.metadata["bth2"]["key"]: o.data["text/markdown"] for o in outputs(notebook, "answer")}
    for key, about in record["texts"].items():
        rest = about["text"]
        for call in about["said"]:
            wrong += [f"{key}: {problem}" for problem in wrong_call(call, runs)]
            if call["text"] not in about["text"]:
                wrong.append(f"{key}: “{call['text']}” is not in the text")
            if call["call"] != "when":
                rest = rest.replace(call["text"], "", 1)
        typed = set(re.findall(DECIMAL, rest)) - settings_of(record)
        wrong += [f"{key}: {number} was typed, not measured" for number in sorted(typed)]
        if "sentences" in about:
            first, *others = about["sentences"]
            text = f"**{first}**\n\n{' '.join(others)}".strip()
            text += f"\n\n*{about['note']}*" if about["note"] else ""
            if shown.pop(key.removeprefix("answer "), None) != text:
                wrong.append(f"{key}: the answer shown is not its sentences")
    return wrong + [f"an answer that was never recorded: {key}" for key in shown]


def settings_of(record: dict) -> set[str]:
    """Decimals that a text may name without measuring them: those of the experiments' settings."""
    found = {"0,1", "0,05", "0,5"}
    for text in [str(run["settings"]) + run["name"] for run in record["runs"].values()]:
        found |= {number.replace(".", ",") for number in re.findall(r"\d+[.,]\d+", text)}
        for number in re.findall(r"\d+\.\d+(?:e-\d+)?|\d+e-\d+", text):
            short = float(f"{float(number):.3g}")
            found.add(f"{short:.6f}".rstrip("0").replace(".", ","))
    return found


def wrong_verdicts(notebook, record: dict) -> list[str]:
    """Marks that do not follow from the runs, and tables of expectations that are not the recorded ones."""
    runs, wrong = runs_of(record), []
    tables = {o.metadata["bth2"]["key"]: o for o in outputs(notebook, "verdicts")}
    listed = {o.metadata["bth2"]["key"]: o.data["text/markdown"] for o in outputs(notebook, "expect")}
    if not set(tables) == set(listed) == set(record["verdicts"]):
        wrong.append(f"expected: {sorted(listed)}, judged: {sorted(tables)}, recorded: {sorted(record['verdicts'])}")
    for section, verdicts in record["verdicts"].items():
        if [f"- {verdict['text']}" for verdict in verdicts] != listed.get(section, "").split("\n"):
            wrong.append(f"{section}: what is judged is not what was expected before the training")
        comparisons = [Comparison(verdict["claim"], runs) for verdict in verdicts]
        rows = rows_of(tables[section])[2:] if section in tables else []
        if len(rows) != len(verdicts):
            wrong.append(f"{section}: {len(rows)} rows for {len(verdicts)} expectations")
        for i, (verdict, comparison) in enumerate(zip(verdicts, comparisons, strict=True)):
            wrong += [f"{section}, {verdict['text']}: {problem}" for problem in comparison.wrong()]
            mark, (a, b) = comparison.mark(), (verdict["claim"][side] for side in "ab")
            if mark != verdict["mark"]:
                wrong.append(f"{section}, {verdict['text']}: the mark is {mark}, not {verdict['mark']}")
            text, measured, result = rows[i] if i < len(rows) else ("", "", "")
            tail = f"@{', dự đoán' if comparison.relation == '=' else ' so với'} @{a['unit']}"
            said, means = measured.partition(": ")[2], [comparison.a.mean(), comparison.b.mean()]
            told = same_text(said, tail, means, a["digits"], b["digits"])
            if text != verdict["text"] or result != MARKS[mark] or not told:
                wrong.append(f"{section}: the row {rows[i : i + 1]} is not “{verdict['text']}” with {means}, {mark}")
    return wrong


def rows_of(table) -> list[list[str]]:
    lines = table.data["text/markdown"].split("\n")
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def wrong_tables(notebook, record: dict) -> list[str]:
    """Cells of the tables of runs that the record does not give, means and standard deviations."""
    wrong, runs = [], runs_of(record)
    for table in [*outputs(notebook, "table"), *outputs(notebook, "front")]:
        about, rows = table.metadata["bth2"], rows_of(table)[2:]
        if "ids" not in about:
            continue
        if len(rows) != len(about["ids"]):
            wrong.append(f"table {about['key']}: {len(rows)} rows for {len(about['ids'])} experiments")
        for row, ids in zip(rows, about["ids"], strict=False):
            for key, text in zip(about["quantities"], row[1:], strict=True):
                measure = quantity(key)
                if measure is None:  # a column of its own, or seconds, which a longer run repeated
                    continue
                lost = [diverged(runs[i]) and key in ("train", "dev", "test", "gap", "dead") for i in ids]
                values = np.array([np.nan if gone else measure(runs[i]) for gone, i in zip(lost, ids, strict=True)])
                shown = text.split("\u00a0±\u00a0")
                digits = len(shown[0].partition(",")[2])
                spread = len(values) > 1 and np.isfinite(values).all()
                wanted = [values.mean(), *([values.std(ddof=1)] if spread else [])]
                if not same_text(text, "\u00a0±\u00a0".join("@" for _ in wanted), wanted, digits):
                    wrong.append(f"table {about['key']}, {row[0]}, {key}: {text}, the runs give {wanted}")
    return wrong


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
    return wrong


def wrong_seal(notebook, record: dict) -> list[str]:
    """Things shown that are not those the record was sealed with, in its order."""
    found = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            about = output.get("metadata", {}).get("bth2", {})
            if about.get("kind") not in (None, "progress", "record"):
                joined = "".join(f"{mime}\n{text.strip()}\n" for mime, text in sorted(output.data.items()))
                found[f"{about['kind']} {about['key']}"] = sha256(joined.encode()).hexdigest()[:16]
    sealed = dict(map(tuple, record["shown"]))
    if list(found.items()) == list(sealed.items()):
        return []
    wrong = [name for name in {**found, **sealed} if found.get(name) != sealed.get(name)]
    return [f"not what the notebook showed: {', '.join(wrong) or 'the order of things'}"]


def problems(notebook) -> list[str]:
    """All that a notebook shows and its record does not give; empty for an honest one."""
    record = find_record(notebook)
    return [
        *wrong_seal(notebook, record),
        *wrong_runs(record),
        *wrong_texts(notebook, record),
        *wrong_verdicts(notebook, record),
        *wrong_tables(notebook, record),
    ]
