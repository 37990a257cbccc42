"""Nothing said that was not measured: the texts of the saved notebook, and of a fresh quick run, against their record."""

import ast
import copy
import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
import recompute
from conftest import find_record, outputs_of, set_up_cells
from hypothesis import given, settings
from hypothesis import strategies as st
from recompute import number, problems
from scipy.stats import ttest_1samp, ttest_rel
from verify import differences


def written(notebook) -> list[str]:
    """The lines of the answers and captions as the code has them: ⟨…⟩ for what is filled in, the guards left out."""
    texts, lines, set_up = [], [], set(set_up_cells(notebook))
    for cell in [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source not in set_up]:
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "").startswith(("answer", "draw_", "figure")):
                texts += node.args
            elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "caption":
                texts.append(node.value)
    for text in texts:
        if isinstance(text, ast.JoinedStr) or (isinstance(text, ast.Constant) and isinstance(text.value, str)):
            parts = text.values if isinstance(text, ast.JoinedStr) else [text]
            words = [part.value if isinstance(part, ast.Constant) else filled(part) for part in parts]
            lines += [line.strip() for line in "".join(words).strip().split("\n")]
    return lines


def filled(part: ast.expr) -> str:
    guard = (
        isinstance(part, ast.FormattedValue) and part.format_spec and part.format_spec.values[0].value in ("?", "not")
    )
    return "" if guard else "⟨…⟩"


def test_every_number_follows_from_the_record(notebook):
    assert problems(notebook) == []


def test_every_number_of_a_fresh_quick_run_follows_from_its_record(quick):
    assert problems(quick) == []


def could_print(line: str, text: str) -> bool:
    """Whether a line of the code can have become the text: its words in order, anything in the places filled in."""
    first, *others = line.split("⟨…⟩")
    if not others:
        return text == line
    place, end = len(first), len(text) - len(others[-1])
    for words in others[:-1]:
        found = text.find(words, place, end)
        place = found + len(words) if found >= 0 else len(text) + 1
    return text.startswith(first) and text.endswith(others[-1]) and place <= end


def test_the_sentences_are_those_of_the_code(notebook, record):
    """A sentence turned round in text and record alike is no sentence that the code could print."""
    lines = written(notebook)
    assert not any(could_print(line, "Câu bịa.") for line in lines), "a text that is all filled in allows any sentence"
    for told in record["sentences"]:
        text = told["text"] if told["stands"] or told["section"].startswith("Hình") else ""  # else only facts are shown
        assert not text or any(could_print(line, text) for line in lines), f"no cell of the notebook can print: {text}"


def test_no_measured_number_is_typed_by_hand(notebook):
    """Decimals stand in a sentence only through the code; settings such as 0,01 or 100 epoch are no measurements."""
    for line in written(notebook):
        typed = set(re.findall(r"\d+,\d+", line)) - recompute.SETTINGS
        assert not typed, f"typed by hand: {typed} in “{line}”"


def test_each_answer_cites_a_figure_and_a_table_that_exist(notebook):
    shown = {kind: {o.metadata["bth2"]["number"] for cell in notebook.cells for o in outputs_of(cell, kind)} for kind in ("figure", "table")}  # fmt: skip
    answers = [o.data["text/markdown"] for cell in notebook.cells for o in outputs_of(cell, "answer")]
    for k, text in enumerate(answers[:7], start=1):
        figures, tables = (set(map(int, re.findall(rf"{word} (\d+)", text))) for word in ("Hình", "Bảng"))
        assert figures and figures <= shown["figure"], f"Bài {k} cites the figures {figures}"
        assert tables and tables <= shown["table"], f"Bài {k} cites the tables {tables}"


def test_predictions_are_those_written_before_the_run(notebook, record):
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    listed = re.findall(r"^- (.*)$", text, re.MULTILINE)
    for prediction in record["predictions"]:
        assert prediction["text"] in listed, f"not predicted before the run: {prediction['text']}"
    told = {prediction["text"] for prediction in record["predictions"]}
    assert set(listed) <= told, f"predicted and never checked: {set(listed) - told}"


def test_the_verdicts_are_not_all_alike(record):
    """A table of ✓ alone would mean that the predictions were written after the runs."""
    assert len({p["mark"] for p in record["predictions"]}) > 1


def test_main_comparisons_have_three_seeds(record):
    for prediction in record["predictions"]:
        if prediction["section"] in {f"Bài {k}" for k in range(1, 7)} and prediction["mark"] != "–":
            for claim in prediction["claims"]:
                assert len(claim["a"]["values"]) >= 3 or claim["relation"] == "=", prediction["text"]


# How verdicts are made


def runs_like(lab, *values, dataset="mnist"):
    """Runs whose accuracy on test is given, one value a seed."""
    e = lab["Experiment"]("x", dataset=dataset)
    return lab["Runs"]([lab["Run"](e, seed, {"loss": [0.0]}, {"test": {"accuracy": v / 100}}, []) for seed, v in enumerate(values)])  # fmt: skip


def one_run(lab, run: dict, name="x"):
    e = lab["Experiment"](name, dataset=run["dataset"], rescaling=run["changes"].get("rescaling"))
    return lab["Runs"]([lab["Run"](e, run["seed"], run["history"], run["metrics"], [])])


def quantities(lab) -> dict:
    return {value.key: value for value in lab.values() if isinstance(value, lab["Quantity"])}


def configurations(record: dict) -> list[list[dict]]:
    """The runs of the record, those that differ by the seed alone together."""
    groups = {}
    for run in recompute.runs_of(record).values():
        groups.setdefault((run["name"], run["epochs"]), []).append(run)
    return list(groups.values())


def test_no_verdict_between_equal_configurations(lab, record, monkeypatch):
    """Any two seeds of one configuration: no ✓ and no ✗ between them, on any quantity of accuracy or loss."""
    runs = recompute.runs_of(record)
    reference = [runs[key] for key in record["noise"]["cifar10"]]
    noise = lab["Runs"]([one_run(lab, run)[0] for run in reference])
    monkeypatch.setitem(lab, "NOISE", {"cifar10": noise})
    checked, compared = 0, [quantities(lab)[key] for key in ("test", "dev", "gap", "train")]
    for group in configurations(record):
        for a, b in itertools.permutations(group, 2):
            for quantity in compared:
                claim = quantity(one_run(lab, a)) > quantity(one_run(lab, b))
                assert claim.mark(claim.p) in "≈–", f"{a['name']}, seeds {a['seed']} and {b['seed']}"
                checked += 1
    assert checked > 50


def test_two_seeds_against_two_others_differ_no_more_often_than_the_test_allows(record):
    """All ways to take two and two of the seeds of one configuration: at the 5 % level, about 5 % may differ."""
    ps = []
    for runs in [runs for runs in configurations(record) if len(runs) > 3]:
        for key in ("test", "dev", "gap", "train", "dev_loss"):
            values = [recompute.QUANTITIES[key](run) for run in runs]
            pairs = [(values[a] - values[b], values[c] - values[d]) for a, b, c, d in itertools.permutations(range(len(runs)), 4)]  # fmt: skip
            ps += [1.0 if a == b else ttest_1samp((a, b), 0).pvalue for a, b in pairs]
    assert len(ps) > 1000
    assert np.mean(np.array(ps) < 0.05) < 0.08


def test_p_values_are_those_of_the_paired_t_test(lab):
    a, b = [96.4, 96.2, 96.3, 96.9], [97.9, 98.0, 97.2, 98.1]
    claim = lab["test"](runs_like(lab, *a)) < lab["test"](runs_like(lab, *b))
    assert claim.p == pytest.approx(ttest_rel(a, b).pvalue)
    assert claim.holds()
    assert not (lab["test"](runs_like(lab, *a)) > lab["test"](runs_like(lab, *b))).holds()


def test_marks_are_corrected_for_the_number_of_predictions(lab, monkeypatch, capsys):
    """Two predictions of p = 0.03 and p = 0.04 are both unclear together, and each is right alone."""
    monkeypatch.setitem(lab, "RECORD", {"sentences": [], "predictions": [], "printed": {}})
    base = runs_like(lab, 90.0, 90.0, 90.0, 90.0)
    claims = [lab["test"](runs_like(lab, *values)) > lab["test"](base) for values in ([91, 92, 93, 94], [92, 94, 96, 99])]  # fmt: skip
    assert all(0.025 < claim.p < 0.05 for claim in claims), [claim.p for claim in claims]
    lab["answer"]("Thử", "Một câu.", predicted=dict(zip("ab", claims, strict=True)))
    lab["answer"]("Thử lại", "Một câu.", predicted={"a": claims[0]})
    assert [p["mark"] for p in lab["RECORD"]["predictions"]] == ["≈", "≈", "✓"]


def test_a_quantity_prints_its_mean_and_the_deviation_between_seeds(lab):
    measured = lab["test"](runs_like(lab, 96.0, 97.0, 99.0))
    assert f"{measured:n}" == "97,33"
    assert f"{measured:sn}" == "97,33\u00a0±\u00a01,53", "the deviation of a sample, of n - 1"
    assert f"{measured}" == "97,33\u00a0%"
    assert f"{lab['test'](runs_like(lab, 96.0)):s}" == "96,00\u00a0%", "one run has no deviation"


def with_nan(value):
    """The record writes NaN as null."""
    if isinstance(value, dict):
        return {key: with_nan(item) for key, item in value.items()}
    return [with_nan(item) for item in value] if isinstance(value, list) else np.nan if value is None else value


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
def test_quantities_are_those_of_the_recomputation(lab, record, monkeypatch):
    """Each quantity of the notebook on each saved run, against the independent definition in recompute.py."""
    monkeypatch.setitem(lab, "LATE", 10)  # as in the full profile, which was saved
    for run in recompute.runs_of(record).values():
        if np.isnan(recompute.series(run["history"]["val_data_loss"])).all():
            continue  # diverged at once: nothing to measure
        measured = one_run(lab, with_nan(run))
        for key, quantity in quantities(lab).items():
            expected, (value,) = recompute.QUANTITIES[key](with_nan(run)), quantity(measured).values
            assert value == pytest.approx(expected, rel=1e-6, abs=1e-6, nan_ok=True), (
                f"{quantity.label} of {run['name']}"
            )


@pytest.mark.usefixtures("_lab")
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_holm(ps):
    """By its definition: the k-th smallest p-value times the hypotheses left, never falling, at most 1."""
    corrected = LAB["holm"](ps)
    order = np.argsort(ps, kind="stable")
    expected, largest = [0.0] * len(ps), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, ps[i] * (len(ps) - rank)))
        expected[i] = largest
    assert np.allclose(corrected, expected)


LAB: dict = {}


@pytest.fixture(scope="module")
def _lab(lab):
    LAB.update(lab)


@pytest.mark.usefixtures("_lab")
@given(st.lists(st.floats(0, 100), min_size=1, max_size=5), st.lists(st.floats(0, 100), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_no_sentence_stands_whose_claims_do_not_hold(a, b):
    """Whatever the runs are."""
    quantity = LAB["test"]
    claim = quantity(runs_like(LAB, *a)) < quantity(runs_like(LAB, *b))
    (text,) = LAB["told"](f"less {claim:?}", "", otherwise=lambda *_: "something else")
    count = min(len(a), len(b))
    difference = np.mean(np.array(a[:count]) - np.array(b[:count]))
    assert text == "something else" or difference < 0
    if count > 1 and text == "less" and np.ptp(np.array(a[:count]) - np.array(b[:count])) > 1e-9:
        assert ttest_rel(a[:count], b[:count]).pvalue < 0.05


@pytest.mark.usefixtures("_lab")
@given(st.floats(-1e9, 1e9), st.integers(0, 6))
@settings(max_examples=200, deadline=None)
def test_vietnamese_numbers_round_trip(value, digits):
    assert number(LAB["vn"](value, digits)) == pytest.approx(round(value, digits), abs=1e-9)


def test_a_claim_is_no_truth_value(lab):
    with pytest.raises(TypeError, match="no truth value"):
        assert 1 < lab["test"](runs_like(lab, 50.0)) < 60


def test_comparisons_of_two_factors_are_refused(lab):
    a, b = runs_like(lab, 90.0, 91.0), runs_like(lab, 92.0, 93.0)
    other = lab["Experiment"]("y", batch_size=8, rescaling=1 / 255)
    with pytest.raises(lab["UserError"], match="nhiều thiết lập"):
        _ = lab["test"](a) < lab["test"](lab["Runs"](replace(run, experiment=other) for run in b))
    for change in ({"extra_layers": (lab["keras"].layers.Dropout(0.5),)}, {"batch_size": 8}):
        one = lab["Runs"](replace(run, experiment=lab["Experiment"]("z", **change)) for run in b)
        assert (lab["test"](a) < lab["test"](one)).p is not None, "one changed field is one factor, whatever its name"


def test_swapped_runs_turn_the_sentence(lab):
    low, high = runs_like(lab, 95.0, 95.2, 95.1), runs_like(lab, 97.0, 97.3, 97.1)
    texts = [f"better {lab['test'](a) < lab['test'](b):?}" for a, b in ((low, high), (high, low), (low, low))]
    assert lab["told"]("\n".join(texts), "", otherwise=lambda *_: "") == ["better"]


# The seven headlines of the saved notebook, said again by its own code from the runs of the record


def experiments(notebook) -> dict[str, str]:
    """{variable: name of its experiment}, from the assignments of train and train_all."""
    found = {}
    for cell in [cell for cell in notebook.cells if cell.cell_type == "code"]:
        for node in ast.parse(cell.source).body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                called, target = getattr(node.value.func, "id", ""), node.targets[0]
                trained = [node.value] if called == "train" else node.value.args if called == "train_all" else []
                names = [e.args[0].value for e in trained if isinstance(e, ast.Call) and isinstance(e.args[0], ast.Constant)]  # fmt: skip
                variables = target.elts if isinstance(target, ast.Tuple) else [target]
                found |= {variable.id: name for variable, name in zip(variables, names, strict=False)}
    return found


def headline(notebook, section: str) -> ast.Expression:
    """The first line of an answer as an f-string, its guards with it."""
    for cell in [cell for cell in notebook.cells if cell.cell_type == "code"]:
        for node in ast.walk(ast.parse(cell.source)):
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "id", "") == "answer"
                and node.args[0].value == section
            ):
                _, line, *_ = ast.get_source_segment(cell.source, node.args[1]).split("\n")
                return ast.parse(f'f"""{line.strip()}"""', mode="eval")
    raise AssertionError(f"no answer to {section}")


@pytest.fixture
def say(lab, notebook, record, monkeypatch):
    """Say a headline with the runs of the record, after `change` has exchanged some of them."""
    saved = {"LATE": 10, "EPOCHS": 30, "LONG": 100, "SMALL": 8, "RECORD": {"sentences": [], "printed": {}}}
    for name, value in saved.items():
        monkeypatch.setitem(lab, name, value)
    groups = {}
    for run in sorted(recompute.runs_of(record).values(), key=lambda run: run["seed"]):
        groups.setdefault(run["name"], []).extend(one_run(lab, with_nan(run), run["name"]))
    runs = {variable: groups[name] for variable, name in experiments(notebook).items() if name in groups}

    def spoken(section: str, change=lambda used: used) -> str:
        tree = headline(notebook, section)
        names = list(dict.fromkeys(node.id for node in ast.walk(tree) if isinstance(node, ast.Name)))
        used = change({name: lab["Runs"](runs[name]) for name in names if name in runs})
        numbers = {name: 0 for name in names if name.startswith(("figure_", "table_"))}
        line = eval(compile(tree, section, "eval"), lab, used | numbers)
        return " ".join(lab["told"](line, section, otherwise=lambda *_: ""))

    return spoken


def without_numbers_of_figures(text: str) -> str:
    return re.sub(r"(Hình|Bảng) \d+", r"\1", text)


SECTIONS = [f"Bài {k}" for k in range(1, 8)]


@pytest.mark.parametrize("section", SECTIONS)
def test_each_headline_follows_from_the_runs_of_the_record(say, record, section):
    first = next(told for told in record["sentences"] if told["section"] == section)
    assert without_numbers_of_figures(say(section)) == without_numbers_of_figures(first["text"])


def swapped(used: dict) -> dict:
    return dict(zip(used, reversed(used.values()), strict=True))


def without_effect(used: dict) -> dict:
    """Every method is the first one: a regularizer, an optimizer, an initializer that does nothing."""
    return dict.fromkeys(used, next(iter(used.values())))


def seeds_ignored(used: dict) -> dict:
    return {name: type(runs)(runs[:1] * len(runs)) for name, runs in used.items()}


@pytest.mark.parametrize("change", [swapped, without_effect, seeds_ignored])
@pytest.mark.parametrize("section", SECTIONS[1:])
def test_no_headline_survives_changed_runs(say, section, change):
    assert say(section) and not say(section, change), f"{section} is still said with runs {change.__name__}"


def test_a_sentence_that_falls_leaves_the_facts_and_what_it_cited(lab):
    a, b = runs_like(lab, 95.0, 95.2, 95.1), runs_like(lab, 95.1, 95.0, 95.2)
    (text,) = lab["told"](f"Hơn hẳn (Bảng 4). {lab['test'](a) < lab['test'](b):?}", "")
    assert text == "Accuracy test: 95,10 so với 95,10\u00a0% (x và x) (Bảng 4)."


@pytest.mark.usefixtures("_lab")
@given(st.lists(st.floats(0, 100), min_size=1, max_size=5), st.floats(0, 100))
@settings(max_examples=50, deadline=None)
def test_a_negated_claim_holds_where_the_claim_does_not(values, bound):
    claim = LAB["test"](runs_like(LAB, *values)) > bound
    (text,) = LAB["told"](f"less {claim:not}", "", otherwise=lambda *_: "more")
    assert text == ("more" if claim.holds() else "less")


# The tests of the tests: what a hostile lecturer would try, in a copy


def forged_output(notebook, kind: str, which: int):
    forged = copy.deepcopy(notebook)
    return forged, [o for cell in forged.cells for o in outputs_of(cell, kind)][which]


@pytest.mark.parametrize(
    ("kind", "which"), [("answer", 1), ("table", 4), ("front", 0), ("abstract", 0), ("predictions", 0)]
)
def test_a_changed_number_is_found(notebook, kind, which):
    forged, output = forged_output(notebook, kind, which)
    numbers = re.findall(r"\d+,\d+", output.data["text/markdown"])
    output.data["text/markdown"] = output.data["text/markdown"].replace(numbers[0], "12,34", 1)
    assert problems(forged) != []


def test_a_number_changed_in_text_and_record_alike_is_found(notebook):
    """Nothing printed it."""
    forged, output = forged_output(notebook, "answer", 1)
    (number, *_), record = re.findall(r"\d+,\d+", output.data["text/markdown"]), find_record(forged)
    for told in record["sentences"]:
        told["text"] = told["text"].replace(number, "12,34")
    output.data["text/markdown"] = output.data["text/markdown"].replace(number, "12,34")
    assert any("12,34 was never measured" in problem for problem in problems(forged))


def test_a_changed_number_of_a_table_that_is_not_of_runs_is_found(notebook):
    forged, output = forged_output(notebook, "table", 1)
    assert "ids" not in output.metadata["bth2"]
    numbers = re.findall(r"\d+,\d+", output.data["text/markdown"])
    output.data["text/markdown"] = output.data["text/markdown"].replace(numbers[-1], "12,34", 1)
    assert problems(forged) != []


def test_a_changed_value_in_the_middle_of_a_history_is_found(notebook):
    forged = copy.deepcopy(notebook)
    history = next(iter(find_record(forged)["histories"].values()))
    history["accuracy"][len(history["accuracy"]) // 2] += 0.001
    assert problems(forged) != []


def test_a_changed_deviation_is_found(notebook):
    forged, output = forged_output(notebook, "front", 0)
    output.data["text/markdown"] = re.sub(r"±\s\d+,\d+", "± 7,77", output.data["text/markdown"], count=1)
    assert problems(forged) != []


@pytest.mark.parametrize("part", ["metrics", "history"])
def test_swapped_runs_are_found(notebook, part):
    forged = copy.deepcopy(notebook)
    record = find_record(forged)
    ids = {run["name"]: key for key, run in record["runs"].items()}
    a, b = ids["Bài 1"], ids["Bài 2"]
    if part == "metrics":
        runs = record["runs"]
        runs[a]["metrics"], runs[b]["metrics"] = runs[b]["metrics"], runs[a]["metrics"]
    else:
        a, b, h = a.split("-")[0], b.split("-")[0], record["histories"]
        h[a], h[b] = h[b], h[a]
    assert problems(forged) != []


def test_swapped_and_empty_figures_are_found(notebook):
    forged = copy.deepcopy(notebook)
    first, second = [o for cell in forged.cells for o in outputs_of(cell, "figure")][:2]
    first.data, second.data = second.data, first.data
    assert problems(forged) != []
    forged, figure = forged_output(notebook, "figure", 0)
    title = re.search(r"<title>[\s\S]*?</title>", figure.data["image/svg+xml"])[0]
    figure.data["image/svg+xml"] = f'<svg xmlns="http://www.w3.org/2000/svg">{title}</svg>'
    assert any("empty" in problem for problem in problems(forged))


def test_verify_sees_what_a_second_run_did_not_reproduce(record):
    assert differences(record, record) == []
    other = copy.deepcopy(record)
    first, *_, last = other["runs"]
    other["runs"][first]["metrics"]["test"]["accuracy"] += 0.006
    other["predictions"][0]["mark"] = "≈"
    del other["runs"][last]
    assert len(differences(record, other)) == 3


def test_a_quick_run_speaks_of_its_own_epochs(quick):
    """Ten, thirty and a hundred epochs are those of the full profile."""
    for cell in quick.cells:
        for kind in ("answer", "caption", "abstract"):
            for text in [o.data["text/markdown"] for o in outputs_of(cell, kind)]:
                found = re.findall(r"\b(?:10|30|100) epoch|epoch (?:10|30|100)\b|ba seed", text)
                assert not found, f"{found} after a quick run in: {text}"
