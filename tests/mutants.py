"""Small wrong changes to the notebook and to report/, each with the test that must turn red; prints the survivors.

    python tests/mutants.py            all of them, each in a temporary copy of the repository
    python tests/mutants.py -k word    those whose name or test has the word in it
    python tests/mutants.py --list     what they are, and whether each can be applied
    python tests/mutants.py --check    the tests named here, on an unchanged copy: they must be green

Not collected by pytest. The saved outputs stay as they are, so a test that reads them only would notice nothing.
Give BTH2_DATA_DIR for the real data. Exit code 1: a mutant survived, or could not be applied.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import nbformat

ROOT = Path(__file__).resolve().parent.parent
NB, REPORT = "MSSV_BaiThucHanh2.ipynb", "report/"
TRAINING, DATA, CLAIMS, STRUCTURE, PDF, SUBMIT = (
    f"tests/test_{name}.py::test_" for name in ("training", "data", "claims", "structure", "report", "submit")
)
LEFT_OUT = (".git", ".venv", ".bth2_cache", ".pytest_cache", ".ruff_cache", "__pycache__", "build", "dist")


class Mutant(NamedTuple):
    what: str
    file: str
    old: str  # stands there exactly once; in a notebook: in the sources of its code cells
    new: str
    tests: str  # as pytest takes them, separated by blanks


MUTANTS = [
    # Data
    Mutant(
        "dev is a part of train",
        NB,
        'images = dict(zip(("train", "dev", "test"), (*split[:2],',
        'split[0], split[2] = arrays["x_train"], arrays["y_train"]\n    images = dict(zip(("train", "dev", "test"), (*split[:2],',
        DATA + "every_image_is_in_one_part_only",
    ),
    Mutant(
        "test is dev",
        NB,
        'images = dict(zip(("train", "dev", "test"), (*split[:2],',
        'arrays |= {"x_test": split[1], "y_test": split[3]}\n    images = dict(zip(("train", "dev", "test"), (*split[:2],',
        DATA + "every_image_is_in_one_part_only",
    ),
    Mutant("split of 80/20", NB, "test_size=0.1", "test_size=0.2", DATA + "ninety_per_cent_train_ten_dev_and_test_as_given"),
    Mutant("split ignores SEED", NB, "random_state=SEED", "random_state=0", DATA + "the_seed_draws_the_split"),
    Mutant(
        "labels of dev are those of train",
        NB,
        "(*split[2:],",
        "(split[2], split[2][: len(split[3])],",
        DATA + "labels_belong_to_their_images",
    ),
    Mutant(
        "checksum without the labels", NB, "(*x.values(), *y.values())]", "x.values()]", DATA + "the_checksum_sees_every_array"
    ),
    Mutant("~ in BTH2_DATA_DIR stays", NB, "Path(DATA_DIR).expanduser()", "Path(DATA_DIR)", DATA + "the_home_sign_is_understood"),
    # Each setting
    Mutant(
        "dev and test swapped in the final measurements",
        NB,
        "metrics[part] = {key",
        'metrics[{"dev": "test", "test": "dev"}.get(part, part)] = {key',
        TRAINING + "the_measured_part_is_the_named_part",
    ),
    Mutant(
        "the history's dev is train",
        NB,
        'dev = batches(data.x["dev"], targets(e, data.labels["dev"])',
        'dev = batches(data.x["train"], targets(e, data.labels["train"])',
        TRAINING + "the_assignments_own_loop_gives_the_same_digits",
    ),
    Mutant(
        "batch size always 128",
        NB,
        "batches(x[order], y[order], e.batch_size)",
        "batches(x[order], y[order], 128)",
        TRAINING + "batch_size_counts_the_updates",
    ),
    Mutant(
        "order of the images ignores the seed",
        NB,
        "default_rng([seed, epoch])",
        "default_rng([0, epoch])",
        TRAINING + "the_seed_changes_order_and_weights_and_nothing_else",
    ),
    Mutant(
        "order of the images ignores the epoch",
        NB,
        "default_rng([seed, epoch])",
        "default_rng([seed, 0])",
        TRAINING + "the_seed_changes_order_and_weights_and_nothing_else",
    ),
    Mutant(
        "labels in another order than the images",
        NB,
        "batches(x[order], y[order], e.batch_size)",
        "batches(x[order], y, e.batch_size)",
        TRAINING + "the_assignments_own_loop_gives_the_same_digits",
    ),
    Mutant(
        "weights ignore the seed",
        NB,
        "random.Random(seed)",
        "random.Random(0)",
        TRAINING + "the_seed_changes_order_and_weights_and_nothing_else",
    ),
    Mutant(
        "all runs have seed 0",
        NB,
        "(e, SEED + k) for",
        "(e, SEED) for",
        TRAINING + "side_by_side_gives_the_numbers_of_one_after_the_other",
    ),
    Mutant(
        "loss without penalty off by a constant",
        NB,
        "metrics[part] = {key: float(value)",
        'metrics[part] = {key: float(value) + 0.01 * (key == "data_loss")',
        TRAINING + "losses_by_their_formulas_and_without_the_penalty",
    ),
    Mutant(
        "loss without penalty is another loss",
        NB,
        'fresh(e.loss, reduction="none"), name',
        'BinaryCrossentropy(reduction="none"), name',
        TRAINING + "losses_by_their_formulas_and_without_the_penalty",
    ),
    Mutant(
        "kernel_regularizer ignored",
        NB,
        "kernel_regularizer=fresh(e.kernel_regularizer),",
        "",
        TRAINING + "one_update_of_sgd_with_l2_by_hand",
    ),
    Mutant(
        "bias_regularizer ignored",
        NB,
        "bias_regularizer=fresh(e.bias_regularizer),",
        "",
        TRAINING + "one_update_of_sgd_with_l2_by_hand",
    ),
    Mutant(
        "kernel_initializer ignored",
        NB,
        "kernel_initializer=fresh(e.kernel_initializer, draw),",
        "",
        TRAINING + "initializers_reach_w_and_b",
    ),
    Mutant(
        "bias_initializer ignored", NB, "bias_initializer=fresh(e.bias_initializer, draw),", "", TRAINING + "initializers_reach_w_and_b"
    ),
    Mutant(
        "activation ignored",
        NB,
        "dense(10, e.activation)",
        'dense(10, "sigmoid")',
        TRAINING + "losses_by_their_formulas_and_without_the_penalty",
    ),
    Mutant(
        "extra layers dropped",
        NB,
        "for layer in e.extra_layers:",
        "for layer in ():",
        TRAINING + "dropout_resumes_where_it_stood " + TRAINING + "what_keras_can_express_goes_in",
    ),
    Mutant(
        "momentum ignored",
        NB,
        "value.from_config(config | seed)",
        'value.from_config({k: v for k, v in (config | seed).items() if k != "momentum"})',
        TRAINING + "optimizers_by_their_formulas",
    ),
    Mutant(
        "rescaling ignored by the hidden units' facts",
        NB,
        "x * np.float32(e.rescaling or 1) @ W1",
        "x @ W1",
        TRAINING + "rescaling_divides_the_input",
    ),
    Mutant("dead units are half of them", NB, "(hidden <= 0).all(axis=0)", "(hidden <= 0)", TRAINING + "dead_and_distinct_units"),
    Mutant(
        "norm of W2 under the name of W1",
        NB,
        "model.get_weights()[::2], start=1",
        "model.get_weights()[::-2], start=1",
        TRAINING + "norms_are_those_of_w1_and_w2",
    ),
    Mutant("diverged trainings go on", NB, ' or not np.isfinite(history["loss"][-1])', "", TRAINING + "divergence_ends_that_run_only"),
    Mutant(
        "EarlyStopping replayed in the wrong mode",
        NB,
        'mode="max" if',
        'mode="min" if',
        TRAINING + "early_stopping_is_kerass_own",
    ),
    Mutant(
        "probe does not go back to its state",
        NB,
        "        for variable, value in zip(state_of(model), state, strict=True):\n            variable.assign(value)\n    return found",
        "    return found",
        TRAINING + "the_first_updates_by_hand",
    ),
    # Identity, resuming, cache
    Mutant(
        "the key forgets batch_size",
        NB,
        '("name", "epochs")}',
        '("name", "epochs", "batch_size")}',
        TRAINING + "the_key_knows_every_setting",
    ),
    Mutant("the key forgets the seed", NB, '{"seed": seed, ', "{", TRAINING + "the_key_knows_every_setting"),
    Mutant(
        "the key forgets the code", NB, ', "recipe": RECIPE}', "}", TRAINING + "an_edit_of_the_code_that_trains_changes_the_key"
    ),
    Mutant(
        "state without seed generators",
        NB,
        "[*model.variables, *model.optimizer.variables]",
        "[*model.weights, *model.optimizer.variables]",
        TRAINING + "dropout_resumes_where_it_stood",
    ),
    Mutant(
        "state without the optimizer",
        NB,
        "[*model.variables, *model.optimizer.variables]",
        "[*model.variables]",
        TRAINING + "optimizers_resume_with_their_state",
    ),
    Mutant(
        "a failed save deletes the epoch before",
        NB,
        "            part.unlink(missing_ok=True)",
        '            part.unlink(missing_ok=True)\n            (CACHE / f"{key}-{run.epochs - 1:03}-on.npz").unlink()',
        TRAINING + "failing_writes_are_said_and_leave_the_last_good_file",
    ),
    Mutant(
        "a failed save is not said",
        NB,
        "if lost else []",
        "if None else []",
        TRAINING + "failing_writes_are_said_and_leave_the_last_good_file",
    ),
    Mutant(
        "another run's file is taken",
        NB,
        'about["key"] != key or any(',
        "any(",
        TRAINING + "a_bad_cache_file_is_said_and_trained_again",
    ),
    Mutant(
        "the longer training does not serve the shorter",
        NB,
        " or epoch + 1 in MILESTONES",
        "",
        TRAINING + "a_longer_training_serves_the_shorter_ones",
    ),
    Mutant(
        "an interrupt leaves the trainings running",
        NB,
        "status.clear()  # ends",
        "pass  # ends",
        TRAINING + "an_interrupt_is_one_sentence_and_ends_the_trainings " + TRAINING + "one_failing_training_ends_the_others",
    ),
    Mutant(
        "initial weights drawn from the state that all threads share",
        NB,
        "draw = random.Random(seed)",
        "draw = keras.utils.set_random_seed(seed)",
        TRAINING + "initial_weights_and_dropout_depend_on_the_seed_alone",
    ),
    Mutant("the GPU is used", NB, '"CUDA_VISIBLE_DEVICES": "-1"', '"CUDA_VISIBLE": "-1"', TRAINING + "no_gpu_is_used"),
    # Claims, numbers, figures
    Mutant("numbers cut instead of rounded", NB, "{value:z,", "{np.trunc(value * 10**digits) / 10**digits:z,", CLAIMS + "vietnamese_numbers_round_trip"),
    Mutant("Holm's correction does nothing", NB, "np.sort(ps) * np.arange(len(ps), 0, -1)", "np.sort(ps)", CLAIMS + "holm"),
    Mutant(
        "Holm's correction left out of the marks",
        NB,
        "holm([claim.p for claim in tested])",
        "[claim.p for claim in tested]",
        CLAIMS + "marks_are_corrected_for_the_number_of_predictions",
    ),
    Mutant(
        "guarded sentences ignore their claims",
        NB,
        'all(claim["holds"] for claim in about["claims"])',
        "True",
        CLAIMS + "no_sentence_stands_whose_claims_do_not_hold " + CLAIMS + "swapped_runs_turn_the_sentence",
    ),
    Mutant("a claim holds whatever its p-value", NB, "self.p < 0.05)", "True)", CLAIMS + "no_sentence_stands_whose_claims_do_not_hold"),
    Mutant(
        "p-value not paired",
        NB,
        "scipy.stats.ttest_1samp(d, 0).pvalue",
        'scipy.stats.ttest_ind(self.a.values, getattr(self.b, "values", [0, 0])).pvalue',
        CLAIMS + "p_values_are_those_of_the_paired_t_test",
    ),
    Mutant("seeds that are all alike prove everything", NB, "return 1.0 if np.ptp(d) == 0", "return 0.0 if np.ptp(d) == 0", CLAIMS + "no_headline_survives_changed_runs"),
    Mutant(
        "the headline of Bài 2 without its guards",
        NB,
        "(Hình {figure_bai2}, Bảng {table_bai2}). {gap(bai2) < gap(bai1):?} {test(bai2) > test(bai1):?}",
        "(Hình {figure_bai2}, Bảng {table_bai2}).",
        CLAIMS + "no_headline_survives_changed_runs",
    ),
    Mutant("p-value one-sided", NB, "ttest_1samp(d, 0).pvalue", "ttest_1samp(d, 0).pvalue / 2", CLAIMS + "p_values_are_those_of_the_paired_t_test"),
    Mutant("two factors at a time are compared", NB, "if len(changed) > 1 and", "if len(changed) > 2 and", CLAIMS + "comparisons_of_two_factors_are_refused"),
    Mutant("deviation of n, not of n - 1", NB, "vn(self.values.std(ddof=1)", "vn(self.values.std()", CLAIMS + "a_quantity_prints_its_mean_and_the_deviation_between_seeds"),
    Mutant(
        "the gap is that to test",
        NB,
        "train_accuracy.value(r) - dev.value(r)",
        "train_accuracy.value(r) - test.value(r)",
        CLAIMS + "quantities_are_those_of_the_recomputation",
    ),
    Mutant("figures without PNG", NB, 'pictures["image/png"]', 'pictures["image/gif"]', STRUCTURE + "a_figure_is_numbered_and_shown_as_svg_and_png"),
    Mutant("dev drawn as train", NB, '("val_", "--")', '("", "--")', STRUCTURE + "curves_show_train_solid_and_dev_dashed_in_per_cent"),
    Mutant(
        "a table of runs mixes up its runs",
        NB,
        "for run in group] for group in runs.values()]",
        "for run in group] for group in reversed(runs.values())]",
        f"--nbval {NB} {CLAIMS}every_number_of_a_fresh_quick_run_follows_from_its_record",
    ),
    # The report
    Mutant("the exporter drops wide tables", REPORT + "markup.py", "        for mime, reader in RICH_TEXT.items():\n", '        if data.get("text/markdown", "").split("\\n")[0].count("|") > 6:\n            return\n        for mime, reader in RICH_TEXT.items():\n', PDF + "the_committed_pdf_is_what_this_exporter_makes " + PDF + "wide_and_long_tables_fit"),
    Mutant("the exporter misprints a digit", REPORT + "markup.py", 'text = clean(text) + "\\n"', 'text = clean(text).replace("97,3", "97,8") + "\\n"', PDF + "the_committed_pdf_is_what_this_exporter_makes"),
    Mutant("the exporter shows pictures without their alt text", REPORT + "markup.py", "quote(alt or 'Hình do mã vẽ ra')", "quote('Hình do mã vẽ ra')", PDF + "alt_text_of_pictures_and_formulas"),
    Mutant("another SEED is no change", REPORT + "freshness.py", "(?:MSSV|HO_TEN|LOP)", "(?:MSSV|HO_TEN|LOP|SEED)", SUBMIT + "another_seed_is_not_handed_in_with_the_numbers_of_the_first"),
    Mutant("an edited cell is no change", REPORT + "freshness.py", "hashes[i] != source_hash(cell)", "len(hashes[i]) != 64", PDF + "commands_refuse_a_stale_notebook_and_the_exporter_marks_it"),
    Mutant("cells run out of order are no change", REPORT + "freshness.py", "cell.execution_count <= last", "False", PDF + "commands_refuse_a_stale_notebook_and_the_exporter_marks_it"),
    Mutant("stand-in data is not said", REPORT + "freshness.py", 'if data["stand_in"]:', "if False:", PDF + "limits_are_stated_on_page_one_and_in_the_header"),
    Mutant("the notebook handed in keeps the old name", REPORT + "submit.py", "    cells[0].source = source\n", "", SUBMIT + "submit_writes_the_pair"),
]  # fmt: skip


def apply(root: Path, mutant: Mutant) -> str:
    """Apply a mutant to a copy of the repository; what is wrong, where its old text does not stand there exactly once."""
    path = root / mutant.file
    if path.suffix == ".ipynb":
        nb = nbformat.read(path, as_version=4)
        places = [cell for cell in nb.cells if cell.cell_type == "code" and mutant.old in cell.source]
        count = sum(cell.source.count(mutant.old) for cell in places)
    else:
        text = path.read_text("utf-8")
        count = text.count(mutant.old)
    if count != 1:
        return f"its old text stands {count} times in {mutant.file}: {mutant.old!r}"
    if path.suffix == ".ipynb":
        places[0].source = places[0].source.replace(mutant.old, mutant.new)
        path.write_text(nbformat.writes(nb) + "\n", "utf-8")
    else:
        path.write_text(text.replace(mutant.old, mutant.new), "utf-8")
    return ""


def copy(folder: str) -> Path:
    return Path(shutil.copytree(ROOT, Path(folder, "copy"), ignore=shutil.ignore_patterns(*LEFT_OUT)))


def pytest(root: Path, tests: str, *options: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "--tb=line", "-p", "no:cacheprovider", *options]
    command += tests.split()
    done = subprocess.run(command, check=False, cwd=root, capture_output=True, text=True, timeout=1200)
    return done.returncode, done.stdout + done.stderr


def verdict(mutant: Mutant) -> tuple[str, str]:
    """What became of a mutant (killed, SURVIVED, SKIPPED, NOT APPLIED, BROKEN), and the test that failed first or why."""
    with tempfile.TemporaryDirectory() as folder:
        root = copy(folder)
        if problem := apply(root, mutant):
            return "NOT APPLIED", problem
        code, text = pytest(root, mutant.tests, *([] if "--nbval" in mutant.tests else ["-x"]))
    failed = [line.split(" ")[1] for line in text.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    named = [test for test in failed if any(test.startswith(name) for name in mutant.tests.split())]
    if code == 1 and named:
        return "killed", named[-1].rpartition("::")[2]
    if code == 0:
        return ("SURVIVED", mutant.tests) if " passed" in text else ("SKIPPED", "the test did not run")
    return "BROKEN", (text.strip().splitlines() or [f"exit code {code}"])[-1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-k", default="", metavar="WORD", help="only those whose name or test has the word in it")
    parser.add_argument("--list", action="store_true", help="print the mutants, and whether each can be applied")
    parser.add_argument("--check", action="store_true", help="run the tests named here on an unchanged copy")
    args = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if args.k in f"{mutant.what} {mutant.tests}"]
    if args.check:
        with tempfile.TemporaryDirectory() as folder:
            code, text = pytest(copy(folder), " ".join(dict.fromkeys(" ".join(m.tests for m in chosen).split())))
        print(text[-3000:])
        return code
    left = []
    for mutant in chosen:
        began = time.monotonic()
        if args.list:
            with tempfile.TemporaryDirectory() as folder:
                shutil.copytree(ROOT / "report", Path(folder, "report"))
                shutil.copy(ROOT / NB, folder)
                problem = apply(Path(folder), mutant)
            result, why = ("NOT APPLIED", problem) if problem else ("", mutant.tests)
        else:
            result, why = verdict(mutant)
        if result not in ("", "killed"):
            left.append(f"{mutant.what}: {result} ({why})")
        print(f"| {mutant.what} | {result} | {why} | {time.monotonic() - began:.0f} s |", flush=True)
    print("\n".join([f"{len(chosen)} mutants, {len(left)} not killed", *left]))
    return bool(left)


if __name__ == "__main__":
    sys.exit(main())
