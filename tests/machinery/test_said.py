"""Nothing said that was not measured, and every verb turns with its runs: the saved notebook and a fresh quick run."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import find_record, outputs
from hypothesis import given, settings
from hypothesis import strategies as st
from recompute import problems
from scipy.stats import ttest_rel

BOTH = pytest.mark.parametrize("which", ["notebook", "quick"])


@BOTH
def test_all_that_is_shown_follows_from_the_record(request, which):
    found = problems(request.getfixturevalue(which))
    assert found == [], "\n".join(found)


@BOTH
def test_no_error_no_stderr_no_wall_of_text(request, which):
    for number, cell in enumerate(request.getfixturevalue(which).cells):
        for output in cell.get("outputs", []):
            assert output.output_type not in ("error", "execute_result"), f"cell {number}: {str(output)[:200]}"
            assert output.output_type != "stream", f"cell {number} prints: {output.get('text', '')[:200]}"


def edited(text: str, old: str, new: str) -> str:
    assert old in text, f"{old!r} is not in {text[:80]!r}"
    return text.replace(old, new, 1)


def edit_output(kind: str, index: int, old: str, new: str):
    def edit(notebook):
        output = outputs(notebook, kind)[index]
        output.data["text/markdown"] = edited(output.data["text/markdown"], old, new)

    return edit


def edit_record(change):
    return lambda notebook: change(find_record(notebook))


def first_said(record: dict, call: str) -> dict:
    return next(c for about in record["texts"].values() for c in about["said"] if c["call"] == call)


def set_item(place, key, value):
    place[key] = value


def swap_histories(record):
    a, b = list(record["histories"])[:2]
    record["histories"][a], record["histories"][b] = record["histories"][b], record["histories"][a]


EDITS = {
    "a digit of an answer": edit_output("answer", 0, ",", ",9"),
    "a cell of a table": edit_output("table", 3, ",", ",1"),
    "an expectation after the fact": edit_output("expect", 0, "90", "80"),
    "a verb in answer and record": edit_record(lambda r: set_item(first_said(r, "change"), "text", "tăng vọt")),
    "a unit": edit_record(lambda r: set_item(first_said(r, "value"), "text", first_said(r, "value")["text"][:-1])),
    "a condition inverted": edit_record(
        lambda r: set_item(first_said(r, "when"), "texts", first_said(r, "when")["texts"][::-1])
    ),
    "a condition dropped": edit_record(lambda r: first_said(r, "when")["claims"].clear() or set_item(
        first_said(r, "when"), "text", first_said(r, "when")["texts"][1])),
    "histories exchanged": edit_record(swap_histories),
    "a value in the middle of a history": edit_record(
        lambda r: set_item(next(iter(r["histories"].values()))["val_accuracy"], -1, 0.5)
    ),
    "a recorded mark": edit_record(lambda r: set_item(next(iter(r["verdicts"].values()))[0], "mark", "✗")),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_by_hand_is_found(notebook, name):
    forged = copy.deepcopy(notebook)
    EDITS[name](forged)
    assert problems(forged) != [], f"{name} was edited, and nothing was found"


# The words, from runs made for it


@pytest.fixture
def runs_like(lab):
    """Runs whose accuracy on test is given, one value a seed."""

    def make(*values, name="x", **changes):
        e = lab["Experiment"](name, **changes)
        history = {"loss": [0.0], "val_accuracy": [0.0]}
        return lab["Runs"](lab["Run"](e, i, history, {"test": {"accuracy": v / 100}}, []) for i, v in enumerate(values))

    return make


@pytest.fixture
def said(lab, monkeypatch):
    monkeypatch.setitem(lab, "SAID", [])
    monkeypatch.setitem(lab, "RECORD", {"shown": {}, "texts": {}, "verdicts": {}, "drawn": {}})
    return lab


LOW, HIGH = (95.0, 95.2, 95.1), (97.0, 97.3, 97.1)
TEXTS = [
    ("change", LOW, HIGH, "tăng từ 95,10 lên 97,13\u00a0%"),
    ("change", HIGH, LOW, "giảm từ 97,13 xuống 95,10\u00a0%"),
    ("change", LOW, LOW, "vẫn là 95,10\u00a0%"),
    ("change", (95.0, 97.0, 96.0), (96.0, 95.9, 96.4), "không đổi rõ rệt (96,00 và 96,10\u00a0%)"),
    ("change", (95.0, 96.0, 95.9), (96.0, 96.5, 97.2), "không đổi rõ rệt (95,63 và 96,57\u00a0%)"),  # p = 0,06
    ("change", (95.0,), (96.0,), "từ 95,00 thành 96,00\u00a0%"),
    ("change", (95.0, 99.0), (96.0,), "từ 95,00 thành 96,00\u00a0%"),  # one run against the run of its own seed
    ("beside", LOW, HIGH, "95,10\u00a0%, thấp hơn mức 97,13\u00a0%"),
    ("beside", HIGH, LOW, "97,13\u00a0%, cao hơn mức 95,10\u00a0%"),
    ("beside", LOW, LOW, "95,10\u00a0%, bằng mức 95,10\u00a0%"),
    ("beside", (95.0, 97.0), (96.0, 95.9), "96,00\u00a0%, không khác rõ rệt mức 95,95\u00a0%"),
    ("beside", (95.0,), (96.0,), "95,00 so với 96,00\u00a0%"),
    ("change", LOW, (np.nan, 97.0, 97.1), "là 95,10 và –\u00a0% (có lần chạy phân kỳ nên không so được)"),
]


@pytest.mark.parametrize(("call", "a", "b", "text"), TEXTS)
def test_the_comparison_chooses_the_words(said, runs_like, call, a, b, text):
    assert said[call](said["test"], runs_like(*a), runs_like(*b)) == text


def test_a_reading_needs_all_its_claims(said, runs_like):
    test, low, high = said["test"], runs_like(*LOW), runs_like(*HIGH)
    yes, no = test(low) < test(high), test(high) < test(low)
    unclear = test(runs_like(95.0, 97.0)) < test(runs_like(96.0, 96.5))
    told = [said["when"](claims, "A", "B") for claims in (yes, no, unclear, [yes, yes], [yes, no], [yes, unclear])]
    assert told == ["A", "B", "B", "A", "B", "B"]


def test_several_factors_are_told_as_numbers_and_hold_nothing(said, runs_like):
    """An edit that makes a comparison impossible costs its verb, never the run."""
    test, a, b = said["test"], runs_like(*LOW), runs_like(*HIGH, batch_size=8, rescaling=1 / 255)
    text = said["change"](test, a, b)
    assert text == "là 95,10 và 97,13\u00a0% (khác nhau ở batch_size, rescaling nên không so được)"
    assert said["when"](test(a) < test(b), "A", "B") == "B"
    assert (test(a) < test(b)).mark() == "–"
    one = runs_like(*HIGH, batch_size=8, optimizer=said["SGD"](learning_rate=0.01 / 16))
    assert said["change"](test, a, one).startswith("tăng"), "a batch size and the rate scaled with it are one factor"


def test_single_runs_are_named_once(said, runs_like, monkeypatch, capsys):
    single, several = runs_like(95.0, name="một"), runs_like(*HIGH, name="ba", batch_size=8)
    monkeypatch.setitem(said, "RUNS", {1: single, 2: several})
    monkeypatch.setitem(said, "prepare", lambda name: SimpleNamespace(sha256=""))
    measure, change, test = said["value"], said["change"], said["test"]
    said["answer"]("A", f"{measure(test(single))} {measure(test(several))} {change(test, single, several)}")
    said["answer"]("B", measure(test(single)))
    said["answer"]("C", measure(test(several)))
    other = runs_like(96.0, name="hai", rescaling=0.5)
    monkeypatch.setitem(said, "RUNS", {1: single, 2: several, 3: other})
    said["answer"]("D", f"{measure(test(single))} {measure(test(several))} {measure(test(other))}")
    notes = [about["note"] for about in said["RECORD"]["texts"].values()]
    assert notes[0] == "Chỉ có một seed nên không kiểm định: một."
    assert notes[1].startswith("Mỗi thí nghiệm ở đây chỉ có một seed")
    assert notes[2] == "" and notes[3] == "Chỉ có một seed nên không kiểm định: hai; một."


def test_a_claim_is_no_truth_value_and_a_measurement_has_no_equality(lab, runs_like):
    measured = lab["test"](runs_like(50.0))
    with pytest.raises(TypeError, match="no truth value"):
        assert 1 < measured < 60
    with pytest.raises(TypeError, match="tolerance"):
        assert measured == measured  # noqa: PLR0124


def test_p_values_are_those_of_the_paired_t_test(lab, runs_like):
    a, b = [96.4, 96.2, 96.3, 96.9], [97.9, 98.0, 97.2, 98.1]
    claim = lab["test"](runs_like(*a)) < lab["test"](runs_like(*b))
    assert claim.p == pytest.approx(ttest_rel(a, b).pvalue)
    alike = lab["test"](runs_like(1.0, 2.0)) < lab["test"](runs_like(2.0, 3.0))
    assert alike.p == 1.0, "seeds that all differ alike measured no noise"
    assert not lab["test"](runs_like(95.0, 97.0)).equals(95).agrees(), "every seed must be equal"


@pytest.mark.usefixtures("_lab")
@given(st.floats(-1e9, 1e9), st.integers(0, 6))
@settings(max_examples=200, deadline=None)
def test_vietnamese_numbers_round_trip(value, digits):
    text = LAB["vn"](value, digits)
    assert float(text.replace("\u202f", "").replace("−", "-").replace(",", ".")) == pytest.approx(round(value, digits))


LAB: dict = {}


@pytest.fixture(scope="module")
def _lab(lab):
    LAB.update(lab)
