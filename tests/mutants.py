"""Small wrong changes to the notebook and to report/, each with the test that must turn red; prints the survivors.

    python tests/mutants.py            all of them, each in a temporary copy of the repository
    python tests/mutants.py -k word    those whose name or test has the word in it
    python tests/mutants.py --check    only whether each old text stands exactly once in today's sources, and each
                                       test is there (--nb FILE: in another notebook)
    python tests/mutants.py --unchanged    the same tests without the change, which must be green

Not collected by pytest. The saved outputs stay as they are, so a test that reads them only would notice nothing;
mutants of the sections (quick) are executed by nbval, and the tests read what it got. Give BTH2_DATA_DIR for the
real data. Exit code 1: a mutant survived, or could not be applied.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import nbformat

ROOT = Path(__file__).resolve().parent.parent
NB = "MSSV_BaiThucHanh2.ipynb"
LEFT_OUT = (".git", ".venv", ".bth2_cache", ".pytest_cache", ".ruff_cache", "__pycache__", "build", "dist")
FILES = {
    "shown": "tests/lab/test_shown.py",
    "computations": "tests/lab/test_computations.py",
    "report": "tests/test_report.py",
    "submit": "tests/test_submit.py",
    "quick": f"--nbval {NB} tests/machinery tests/lab",
}

# @ what | file of tests: word in the test's name | file that is changed, if it is not the notebook
# - old text, in one cell (more lines of the same text: more of these)
# + new text
MUTANTS = r"""
== Data
@ split of 80/20 | data: ninety_per_cent
-test_size=0.1
+test_size=0.2
@ split ignores SEED | data: the_seed_draws_the_split
-random_state=SEED
+random_state=0
@ test is dev | data: ninety_per_cent
-(*split[:2], arrays["x_test"])
+(*split[:2], split[1])
@ checksum without the labels | data: the_checksum_sees
-(*x.values(), *y.values())
+x.values()
@ full profile: 20 epochs instead of 30 | computations: the_full_profile
-((None,) * 3, 10, 30, 100)
+((None,) * 3, 10, 20, 100)
@ the stand-in's brightest pixels wrap to black | data: out_of_reach
-* 15.9
+* 16
== Training
@ dev and test swapped in the final measurements | training: measured_part
-metrics[part] = {key: float(value)
+metrics[{"dev": "test", "test": "dev"}.get(part, part)] = {key: float(value)
@ the history's dev is train | training: own_loop
-dev = batches(data.x["dev"], targets(e, data.labels["dev"])
+dev = batches(data.x["train"], targets(e, data.labels["train"])
@ batch size always 128 | training: batch_size_counts
-train = batches(data.x["train"], targets(e, data.labels["train"]), e.batch_size, order)
+train = batches(data.x["train"], targets(e, data.labels["train"]), 128, order)
@ labels in another order than the images | training: own_loop
-return tf.gather(x, rows), tf.gather(y, rows)
+return tf.gather(x, rows), y[step * size : (step + 1) * size]
@ weights ignore the seed | training: the_seed_changes
-draw = random.Random(seed)
+draw = random.Random(0)
@ bias_regularizer ignored | computations: first_batch
-            bias_regularizer=fresh(e.bias_regularizer),
+
@ kernel_regularizer ignored | computations: first_batch
-            kernel_regularizer=fresh(e.kernel_regularizer),
+
@ W₁'s own initializer for W₂, too | training: initializers_reach
-        kernel_initializer = e.kernel_initializer
+        pass
@ momentum lost on the way into the model | training: optimizers_by_their
-optimizer=fresh(e.optimizer),
+optimizer=fresh(e.optimizer, **({"momentum": 0.0} if hasattr(e.optimizer, "momentum") else {})),
@ learning rate lost on the way into the model | training: optimizers_by_their
-optimizer=fresh(e.optimizer),
+optimizer=type(e.optimizer)(),
@ dead on any image, not on all | training: dead_and_distinct
-.numpy().all(axis=0)
+.numpy().any(axis=0)
@ progress shows train as dev | training: divergence_ends
-100 * run.history['val_accuracy'][-1]
+100 * run.history['accuracy'][-1]
@ norm of W₂ under the name of W₁ | training: norms_are
-enumerate(kernels(model), start=1)
+enumerate(kernels(model)[::-1], start=1)
@ a milestone measured one epoch late | training: a_milestone
-if last or epoch + 1 in MILESTONES else
+if last or epoch in MILESTONES else
== Cache
@ the key without the data's checksum | training: the_key_knows
-"data": prepare(e.dataset).sha256, "recipe"
+"recipe"
@ the key without Keras's version | training: an_edit_of_the_code
-sorted(MILESTONES), keras.__version__, tf.__version__]
+sorted(MILESTONES), tf.__version__]
@ the key without the code that measures | training: the_recipe_has
-dead_share, measure)
+dead_share)
@ state without the optimizer | training: what_keras_can_express
-[*model.variables, *model.optimizer.variables]
+[*model.variables]
== Said
@ marks ignore the p-value | shown: what_was_approved
-return "≈" if self.p is not None and self.p >= 0.05 else "✓"
+return "✓"
@ a claim holds whatever its p-value | said: a_reading_needs_all
- and (self.p is None or self.p < 0.05)
+
@ one of several conditions is enough | said: a_reading_needs_all
-stands = all(claim.holds() for claim in claims)
+stands = any(claim.holds() for claim in claims)
@ conditions inverted | said: a_reading_needs_all
-text if stands else otherwise, claims
+otherwise if stands else text, claims
@ rises are called falls | said: the_comparison_chooses
-"<": "tăng từ {a} lên {b}{unit}"
+"<": "giảm từ {a} xuống {b}{unit}"
@ two factors at a time are compared | said: several_factors
-one_factor = len(changed) < 2 or
+one_factor = len(changed) < 3 or
@ numbers lose their unit | next_lab: all_its_checks
-said("value", f"{measured}{measured.quantity.unit}"
+said("value", f"{measured}"
@ single runs are not named | shown: what_was_approved
-f"{text}\n\n*{note}*" if note else text
+text
@ the losses under one label | shown: what_was_approved
-Quantity("dev_loss", "loss dev"
+Quantity("dev_loss", "loss train"
== Figures
@ end labels where the lines begin | next_lab: all_its_checks
-ends = [scale * run.history[prefix + metric][-1]
+ends = [scale * run.history[prefix + metric][0]
@ marks and their labels sorted apart | next_lab: it_is_another_lab
-enumerate(sorted((marks or {}).items(), reverse=True))
+enumerate(zip(sorted(marks or {}), (marks or {}).values()))
@ dashes of train and dev swapped | next_lab: all_its_checks
-[("", "-"), ("val_", "--")]
+[("", "--"), ("val_", "-")]
@ train drawn as dev | next_lab: all_its_checks
-np.array(run.history[prefix + metric])
+np.array(run.history[metric])
@ each seed under the name of the first | next_lab: all_its_checks
-f"{run_id(run)} {prefix}{metric}"
+f"{run_id(group[0])} {prefix}{metric}"
@ log axis on the other panel | next_lab: all_its_checks
-yscale="log" if metric in log else "linear"
+yscale="linear" if metric in log else "log"
@ Bài 1 drawn under the name of Bài 2 | shown: what_was_approved
-{"Bài 1": bai1, "Bài 2 (L2)": bai2},
+{"Bài 1": bai2, "Bài 2 (L2)": bai1},
@ a swapped legend | shown: what_was_approved
-dashes, ["train", "dev"]
+dashes, ["dev", "train"]
@ pictures dark where they should be bright | shown: what_was_approved
-cmap="gray"
+cmap="gray_r"
@ accuracy train where dev was meant | shown: what_was_approved
-khoảng cách train − dev {change(gap, bai1, bai2)}
+khoảng cách train − dev {change(dev, bai1, bai2)}
@ curves that can hardly be seen | shown: what_was_approved
-lw=0.8, alpha=0.9
+lw=0.8, alpha=0.09
@ a tolerance of half instead of a tenth | shown: what_was_approved
-equals(decayed(bai2), 0.1)
+equals(decayed(bai2), 0.5)
@ small shares of a confusion matrix are not written | shown: what_was_approved
-if share >= 0.5 else
+if share >= 5 else
@ pictured units are the strongest of another run | shown: what_was_approved
-draw_columns("weights", weights, weights[bai2.name], caption)
+draw_columns("weights", weights, weights[bai1.name], caption)
@ one stand-in of two data sets is not marked | figures: one_stand_in
-if any(data.stand_in for data in DATA.values()):
+if all(data.stand_in for data in DATA.values()):
@ an expectation the other way round | shown: what_was_approved
-lambda: test(bai2) > test(bai1)
+lambda: test(bai2) < test(bai1)
@ a reading that always stands | shown: what_was_approved
-stands = all(claim.holds() for claim in claims)
+stands = True
== Computations
@ weight decay without its factor 2 | computations: decayed
-(1 - 2 * rate * strength)
+(1 - rate * strength)
@ the strongest rows, not columns | computations: norms_and_epochs
-np.argsort(-np.linalg.norm(W1, axis=0), kind="stable")
+np.argsort(-np.linalg.norm(W1, axis=1), kind="stable")
@ learning rate of another bound | computations: largest_rate
-s = 2 / 10 *
+s = 2 *
@ EarlyStopping replayed in the wrong mode | computations: stopping_epoch
-mode = "max" if
+mode = "min" if
@ a row of pictured weights is lost | shown: what_was_approved
-for g in (bai1, bai2, small_w1)}
+for g in (bai1, bai2)}
@ pictures of mistakes from train | computations: outputs_on_test
-as_pictures(data.x["test"][rows] / 255
+as_pictures(data.x["train"][rows] / 255
== Choices
@ the grid shows test | shown: what_was_approved
-{brief(rate)}: {dev(tried[name, rate])}
+{brief(rate)}: {test(tried[name, rate])}
@ learning rates chosen on test | computations: chosen_on_dev
-key=lambda rate: dev.value(
+key=lambda rate: test.value(
@ the best model chosen on test | computations: chosen_on_dev
-key=dev.value)
+key=test.value)
== Answers
@ weight decay of another strength | shown: what_was_approved
-DECAY = 2 * SGD_RATE * LAMBDA / ADAM_RATE
+DECAY = 2 * SGD_RATE * LAMBDA
@ another small learning rate | shown: what_was_approved
-SGD(learning_rate=0.0013)
+SGD(learning_rate=0.013)
@ a sentence about another run | shown: what_was_approved
-{value(soon(raw2))} thành
+{value(soon(raw6))} thành
@ a row of another experiment | shown: what_was_approved
-dev(bai6).with_spread(), dev_loss(bai6).with_spread()
+dev(bai1).with_spread(), dev_loss(bai1).with_spread()
@ the epoch with as many updates of the other batch size | shown: what_was_approved
-same = epoch_at(updates_of(batch8.experiment), bai2.experiment)
+same = epoch_at(updates_of(batch8.experiment), batch8.experiment)
@ a condition inverted | shown: what_was_approved
-lead = when(test(ones) < test(bai1), "Khởi tạo
+lead = when(test(ones) > test(bai1), "Khởi tạo
@ another figure is cited | shown: what_was_approved
-f"{lead}: accuracy test {beside(test, ones, bai1)} của GlorotUniform, {guess} ({see_table}).",
+f"{lead}: accuracy test {beside(test, ones, bai1)} của GlorotUniform, {guess} (Bảng 5).",
@ a number that was not measured by a call | shown: what_was_approved
-accuracy train {value(train_accuracy(bai1))}, dev
+accuracy train {train_accuracy(bai1)}, dev
@ a row missing from Bảng 1 | shown: what_was_approved
-main = [bai1, bai2, ones, zeros,
+main = [bai1, bai2, ones,
== Record and report
@ run is quick by default | submit: run_stops | report/__main__.py
-default="full"
+default="quick"
@ the PDF's hash of sources only | submit: submit_writes | report/exporter.py
-json.dumps(nb, sort_keys=True)
+json.dumps([cell.source for cell in nb.cells])
@ the seal is of the name | next_lab: all_its_checks
-hashlib.sha256(joined.encode()).hexdigest()[:16]
+hashlib.sha256(name.encode()).hexdigest()[:16]
@ another SEED is no change | submit: another_seed | report/freshness.py
-(?:MSSV|HO_TEN|LOP)
+(?:MSSV|HO_TEN|LOP|SEED)
@ an edited cell is no change | report: refuse_a_stale | report/freshness.py
-hashes.get(str(cell.execution_count)) != source_hash(cell)
+False
@ an edited output is no change | report: refuse_a_stale | report/freshness.py
-if checksum(output) == sum_ and
+if
@ stand-in data is not said | report: limits_are_stated | report/freshness.py
-if data["stand_in"]:
+if False:
@ the notebook handed in keeps the old name | submit: submit_writes | report/submit.py
-    cells[0].source = source
+    pass
@ the exporter misprints a digit | report: what_this_exporter_makes | report/markup.py
-return json.loads(done.stdout)
+return json.loads(done.stdout.replace(b"97", b"98"))
"""


class Mutant(NamedTuple):
    what: str
    tests: str  # file of tests: word in the test's name
    file: str
    old: str
    new: str

    def arguments(self) -> list[str]:
        """The test as pytest takes it."""
        name, word = self.tests.split(": ")
        chosen = f"ipynb or ({word} and not notebook)" if name == "quick" else word
        return [*FILES.get(name, f"tests/machinery/test_{name}.py").split(), "-k", chosen]


def mutants() -> list[Mutant]:
    found = []
    for block in re.sub(r"(?m)^== .*\n", "", MUTANTS).split("\n@ ")[1:]:
        head, *lines = block.removesuffix("\n").split("\n")
        old, new = ("\n".join(line[1:] for line in lines if line[:1] == sign) for sign in "-+")
        what, tests, file = [*head.split(" | "), NB][:3]
        found.append(Mutant(what, tests, file, old, new))
    return found


def apply(root: Path, mutant: Mutant, notebook: Path | None = None, write: bool = True) -> str:
    """Apply a mutant to a copy of the repository; what is wrong, where its old text does not stand there once."""
    path = notebook if notebook and mutant.file == NB else root / mutant.file
    nb = nbformat.read(path, as_version=4) if path.suffix == ".ipynb" else None
    texts = [cell.source for cell in nb.cells] if nb else [path.read_text("utf-8")]
    if (count := sum(text.count(mutant.old) for text in texts)) != 1:
        return f"its old text stands {count} times in {path.name}: {mutant.old!r}"
    texts = [text.replace(mutant.old, mutant.new) for text in texts]
    if write and nb:
        for cell, text in zip(nb.cells, texts, strict=True):
            cell.source = text
    if write:
        path.write_text(nbformat.writes(nb) + "\n" if nb else texts[0], "utf-8")
    return ""


def missing(mutant: Mutant) -> str:
    """What is wrong with the test that a mutant names."""
    name, word = mutant.tests.split(": ")
    paths = [path for text in mutant.arguments() for path in [ROOT / text] if text.startswith("tests/")]
    files = [file for path in paths for file in (path.glob("test_*.py") if path.is_dir() else [path])]
    found = any(re.search(rf"def test_\w*{word}", file.read_text("utf-8")) for file in files if file.exists())
    return "" if found else f"no test of {name} has {word} in its name"


def verdict(mutant: Mutant, unchanged: bool) -> tuple[str, str]:
    """What became of a mutant (killed, SURVIVED, SKIPPED, does not apply, BROKEN), and the test that failed or why."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(shutil.copytree(ROOT, Path(folder, "copy"), ignore=shutil.ignore_patterns(*LEFT_OUT)))
        (root / ".venv").symlink_to(ROOT / ".venv")
        if problem := apply(root, mutant, write=not unchanged):
            return "does not apply", problem
        command = [sys.executable, "-m", "pytest", "-q", "-rfE", "--tb=line", "-p", "no:cacheprovider"]
        command += mutant.arguments()
        done = subprocess.run(command, check=False, cwd=root, capture_output=True, text=True, timeout=2400)
    text = done.stdout + done.stderr
    failed = [line.split(" ")[1] for line in text.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    if done.returncode == 1 and failed:
        return "killed", failed[0].rpartition("::")[2]
    if done.returncode in (0, 5):
        return ("SURVIVED", mutant.tests) if " passed" in text else ("SKIPPED", "the test did not run")
    return "BROKEN", (text.strip().splitlines() or [f"exit code {done.returncode}"])[-1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-k", default="", metavar="WORD", help="only those whose name or test has the word in it")
    parser.add_argument("--check", action="store_true", help="only whether each can be applied and its test is there")
    parser.add_argument("--unchanged", action="store_true", help="run the tests without the change: all must survive")
    parser.add_argument("--nb", type=Path, help="with --check: look in this notebook")
    args = parser.parse_args()
    chosen, left = [mutant for mutant in mutants() if args.k in f"{mutant.what} {mutant.tests}"], []
    for mutant in chosen:
        began = time.monotonic()
        if args.check:
            why = apply(ROOT, mutant, args.nb, write=False) or missing(mutant)
            result = "does not apply" if why else "applies"
        else:
            result, why = verdict(mutant, args.unchanged)
        if result not in ("applies", "SURVIVED" if args.unchanged else "killed"):
            left.append(f"{mutant.what}: {result} ({why})")
        if not args.check:
            print(f"| {mutant.what} | {result} | {why} | {time.monotonic() - began:.0f} s |", flush=True)
    print("\n".join([f"{len(chosen)} mutants, {len(left)} of them not as they should be", *left]))
    return bool(left)


if __name__ == "__main__":
    sys.exit(main())
