"""All that this lab shows, read once by a person and kept in shown.txt: whatever shows something else is a change.

The notebook is played without training, with the runs of its record. After a change that is meant,
`APPROVE=1 pytest tests/lab/test_shown.py` writes shown.txt anew; read its `git diff` before the commit, since nothing
but this reading says that it is right. It is played a second time with the same runs turned round, so that what was
higher is lower: the words must turn, too.
"""

import difflib
import json
import os
import re
import textwrap
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from conftest import find_record
from matplotlib.collections import Collection
from matplotlib.colors import to_hex
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from played import Played
from recompute import series
from test_data import good, written

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # means of runs that diverged
APPROVED = Path(__file__).with_name("shown.txt")
OPPOSITE = {"accuracy": lambda x: 1.1 - x, "dead": lambda x: 1 - x, "distinct": lambda x: 785 - x}


def as_saved(key: str, values: np.ndarray, seed: int) -> np.ndarray:
    return values


def turned(key: str, values: np.ndarray, seed: int) -> np.ndarray:
    """Measurements of a run, their order turned round; nothing diverges, and seeds hardly differ."""
    values = np.nan_to_num(values, nan=0.5)
    return OPPOSITE.get(key.removeprefix("val_"), lambda x: 1 / (x + 0.01))(values) * (1 - seed / 1000)


def identity(settings: dict, seed: int) -> str:
    """What tells a run of the record: settings, rounded as there, and seed; the network that is played is smaller."""
    rounded = json.loads(json.dumps(settings), parse_float=lambda x: float(f"{float(x):.9g}"))
    return json.dumps([rounded | {"hidden": 0}, seed], sort_keys=True)


def runs_from(record: dict, change):
    """A function that gives an experiment its run of the record, its measurements changed."""
    known = {identity(run["settings"], run["seed"]): (key, run) for key, run in record["runs"].items()}

    def find(names, e, seed):
        asked = {f.name: names["settings"](getattr(e, f.name)) for f in names["fields"](e)[1:]}
        assert identity(asked, 0) in known, f"no saved run of “{e.name}” has these settings: {asked}"
        key, run = known.get(identity(asked, seed if change is as_saved else 0), known[identity(asked, 0)])
        whole = record["histories"][key.split("-")[0]]
        history = {name: change(name, series(values[: run["epochs"]]), seed).tolist() for name, values in whole.items()}
        metrics = {
            part: {name: change(name, series([value]), seed)[0] for name, value in found.items()}
            for part, found in run["metrics"].items()
        }
        return names["Run"](e, seed, history, metrics, [])

    return find


# A figure in words: a line for each curve, text, picture…


def numbers(values) -> str:
    """Numbers in short: how many, the first, the last, the mean, and a mean to which the order matters."""
    flat = np.ravel(np.ma.filled(np.ma.asarray(values).astype(float), np.nan))
    flat = flat[np.isfinite(flat)]
    if not flat.size:
        return "none"
    chosen = flat[0], flat[-1], np.mean(flat), np.mean(flat * np.linspace(0, 1, flat.size))
    return f"{flat.size}: " + " ".join(f"{value:.4g}" for value in chosen)


def hue(colour) -> str:
    return to_hex(colour, keep_alpha=True) if isinstance(colour, str) or len(np.shape(colour)) < 2 else numbers(colour)


def words_on(artist) -> str:
    """One line on something drawn, "" where it is nothing of its own."""
    if isinstance(artist, Text):
        place = " ".join(f"{value:.4g}" for value in getattr(artist, "xy", artist.get_position()))
        form = f"{artist.get_fontsize():g} {hue(artist.get_color())} {artist.get_rotation():g}° {artist.get_ha()}"
        return f"text “{artist.get_text()}” {form} at {place}" if artist.get_text() else ""
    if isinstance(artist, AxesImage):
        values, (low, high) = artist.get_array(), artist.get_clim()
        return f"image {artist.get_cmap().name} from {low:.4g} to {high:.4g}, {np.shape(values)}, {numbers(values)}"
    if isinstance(artist, Collection):
        return f"{type(artist).__name__} {hue(artist.get_facecolor())} {numbers(artist.get_offsets())}"
    if isinstance(artist, Patch):
        return f"{type(artist).__name__} {hue(artist.get_facecolor())} {numbers(artist.get_path().vertices)}"
    return f"{type(artist).__name__} {artist.get_linestyle()} {artist.get_linewidth():g} {artist.get_marker()}"


def words_on_lines(lines: list[Line2D], names: dict) -> list[str]:
    """One line on the curves of one experiment and metric, a curve for each seed."""
    found: dict[str, list] = {}
    for line in lines:
        key, _, metric = str(line.get_gid()).partition(" ")
        name = f"{names[key].rpartition(' ')[0]}” {metric}" if key in names else f"{line.get_gid()}”"
        dashes, alpha = line._unscaled_dash_pattern[1], line.get_alpha()  # it has no other name
        form = f"{line.get_linestyle()} {dashes} {line.get_linewidth():g} {line.get_marker()}"
        form += f" {hue(line.get_color())} {alpha}"
        found.setdefault(f"line “{name} {form}", []).append(line.get_xydata().T)
    return [
        f"{head}; ×{len(xys)}; x {numbers(np.hstack(xys)[0])}; y {numbers(np.hstack(xys)[1])}"
        for head, xys in found.items()
    ]


def words_on_axis(axis) -> str:
    low, high = axis.get_view_interval()
    ticks = zip(axis.get_ticklabels(), axis.get_ticklocs(), strict=True)
    inside = [label.get_text() for label, at in ticks if min(low, high) <= at <= max(low, high)]
    label = f"“{axis.label.get_text()}” {axis.label.get_rotation():g}°"
    return f"{label} {axis.get_scale()} from {low:.4g} to {high:.4g}: {' '.join(inside)}"


def words_on_figure(fig, names: dict) -> list[str]:
    fig.canvas.draw()
    found = [*map(words_on, fig.texts)]
    for ax in fig.axes:
        found += [f"panel “{ax.get_title()}”", *(words_on_axis(axis) for axis in (ax.xaxis, ax.yaxis) if ax.axison)]
        found += words_on_lines(ax.lines, names)
        found += map(words_on, (*ax.texts, *ax.images, *ax.collections, *ax.patches))
        if legend := ax.get_legend():
            entries = zip(legend.get_texts(), legend.legend_handles, strict=True)
            found += [f"legend “{text.get_text()}” {words_on(handle)}" for text, handle in entries]
    return [line for line in found if line]


# What a text rests on, and all of it


def side(data: dict, names: dict) -> str:
    runs = [names[key].rpartition(" ")[0] for key in data["runs"]]
    numbers = " ".join(f"{value:.6g}" for value in sorted(set(data["values"])))
    return f"{data['key']} {'; '.join(sorted(set(runs)))}" if runs else numbers


def claimed(claim: dict, names: dict) -> str:
    near = f" within {100 * claim['tolerance']:g} %" if claim["tolerance"] else ""
    return f"{side(claim['a'], names)} {claim['relation']} {side(claim['b'], names)}{near}"


def basis(call: dict, names: dict) -> str:
    """What a call of a text rests on, and whether it held."""
    claims = ", ".join(claimed(claim, names) for claim in call["claims"])
    rests = side(call["a"], names) if call["call"] == "value" else claims
    text = " / ".join(call.get("texts", [call["text"]]))  # of a reading, also what stands otherwise
    return f"[{'' if call.get('stands', True) else 'not '}{call['call']} {rests}: {text}]"


def shown_by(played: Played) -> dict[str, str]:
    """All that a played notebook shows, by kind and key, in its order; of a text that nothing computes, a checksum."""
    record, texts = find_record(played.notebook), [c for c in played.notebook.cells if c.cell_type == "markdown"]
    marks = [f"{sha256(c.source.encode()).hexdigest()[:16]} {c.source[:80]}".replace("\n", " ") for c in texts]
    found = {"texts that nothing computes": "\n".join(marks)}
    names = {key: f"{run['name']} {run['seed']}" for key, run in record["runs"].items()}
    for cell in played.notebook.cells:
        for output in cell.get("outputs", []):
            about = output.metadata.get("bth2", {})
            name, data = f"{about.get('kind')} {about.get('key')}", output.data
            calls = record["texts"].get(name, {"said": []})["said"]
            lines = [data.get("text/markdown", data["text/plain"])]
            if about.get("kind") == "figure":
                lines.append(f"{data['image/svg+xml']}; {data['image/png']}")
                lines += words_on_figure(played.figures[f"Hình {about['number']}"], names)
            if about.get("kind") == "verdicts":
                verdicts = record["verdicts"][about["key"]]
                calls = [{"call": v["mark"], "text": v["text"], "claims": [v["claim"]]} for v in verdicts]
            if about.get("kind") not in (None, "progress", "record"):
                found[name] = "\n".join([*lines, *(basis(call, names) for call in calls)])
    return found


@pytest.fixture(scope="module")
def play(notebook, tmp_path_factory):
    """A function that plays the notebook in the full profile, on small random images, its runs changed."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for name in ("mnist", "cifar10"):
        arrays = {key: np.tile(array, (10, *[1] * (array.ndim - 1))) for key, array in good(name).items()}
        arrays |= {key: rng.integers(0, 10, x.shape, np.uint8) for key, x in arrays.items() if key[0] == "x"}
        (folder / f"{name}.npz").write_bytes(written(np.savez, **arrays))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"PROFILE": "full", "DATA_DIR": str(folder), "SEEDS": "3", "WORKERS": "1"}.items():
            patch.setenv(f"BTH2_{name}", value)
        yield lambda change: Played(notebook, {}, runs_from(find_record(notebook), change))


@pytest.fixture(scope="module")
def saved(play) -> Played:
    return play(as_saved)


def filled(text: str) -> str:
    """A text in lines of at most 116 characters."""
    fill = lambda line: textwrap.fill(line, 116, subsequent_indent="    ", break_on_hyphens=False)
    return "\n".join(map(fill, text.split("\n")))


def alike(a: str, b: str) -> bool:
    """Whether two words of a figure are the same; numbers may differ by one in the fourth digit, as machines do."""
    try:
        x, y = (float(word.strip(";,:")) for word in (a, b))
    except ValueError:
        return a == b
    return x == y or abs(x - y) <= 1.01 * 10 ** (np.floor(np.log10(max(abs(x), abs(y)))) - 3)


def test_the_notebook_shows_what_was_approved(saved):
    shown = shown_by(saved)
    if os.environ.get("APPROVE"):
        APPROVED.write_text("\n".join(f"== {name}\n{filled(text)}\n" for name, text in shown.items()), "utf-8")
    approved = dict(block.split("\n", 1) for block in APPROVED.read_text("utf-8").removeprefix("== ").split("\n\n== "))
    changed = [f"shown, and not approved: {name}" for name in shown if name not in approved]
    for name, text in approved.items():
        old, new = text.split(), shown.get(name, "").split()
        same = alike if "figure" in name else str.__eq__
        if len(old) != len(new) or not all(map(same, old, new)):
            lines = text.split("\n"), filled(shown.get(name, "")).split("\n")
            changed += [f"== {name}", *difflib.unified_diff(*lines, "approved", "now", n=0, lineterm="")]
    assert not changed, "\n".join(["is it meant? then see the head of this file", *changed])
    assert [*approved] == [*shown], "the order changed"


SAME_BOTH_WAYS = ("swing ", "dev_loss val_loss ")  # a path turned upside down is as rough, and is stopped earlier


def test_words_turn_with_the_runs(saved, play):
    """A reading that stands on the saved runs falls, a verb is another one; a number alone has no verb."""
    stuck, tried = [], 0
    texts = [find_record(played.notebook)["texts"].values() for played in (saved, play(turned))]
    for about, other in zip(*texts, strict=True):
        for a, b in zip(about["said"], other["said"], strict=True):
            names = {key: key for claim in a["claims"] for side in "ab" for key in claim[side]["runs"]}
            rests = ", ".join(claimed(claim, names) for claim in a["claims"])
            verbs = [re.sub(r"[\d,\u202f]+", "", call["text"]) for call in (a, b)]
            decided = a["claims"] and a.get("stands", a["claims"][0]["p"] is not None and a["claims"][0]["p"] < 0.05)
            tried += bool(decided)
            if decided and verbs[0] == verbs[1] and not rests.startswith(SAME_BOTH_WAYS):
                stuck.append(f"“{a['text']}” stands whatever the runs: {rests}")
    assert not stuck and tried > 60, "\n".join(stuck)
