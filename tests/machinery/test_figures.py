"""Every figure shows its runs: what the record says was drawn, and the strokes of the picture itself."""

import ast
import copy
import itertools
import json
import re
from html import unescape
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import find_record, outputs
from recompute import runs_of, series

RUN = r"[0-9a-f]{16}-\d{3}"
UPDATES = "Số lần cập nhật"
LABELS = {"accuracy": "Accuracy (%)", "loss": "Loss cả phần phạt", "data_loss": "Loss (không kể phạt)"}
LABELS |= {"norm_1": "‖W₁‖", "dead": "Nơ-ron chết (%)"}


def bad(checks: dict[str, bool]) -> list[str]:
    return [message for message, wrong in checks.items() if wrong]


def near(shown, wanted) -> bool:
    return np.shape(shown) == np.shape(wanted) and np.allclose(series(shown), wanted, rtol=1e-6, equal_nan=True)


def asked(notebook) -> dict[str, list[set]]:
    """For each figure of curves, the metrics that its call wants on a log axis, and those it gives limits."""
    found = {}
    for node in [n for c in notebook.cells if c.cell_type == "code" for n in ast.walk(ast.parse(c.source))]:
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "draw_curves":
            words = {k.arg: {getattr(n, "value", None) for n in ast.walk(k.value)} for k in node.keywords}
            found[node.args[0].value] = [words.get(name, set()) for name in ("log", "ylim")]
    return found


def wrong_curves(panel: dict, alt: str, log: set, limited: set, record: dict) -> list[str]:
    """A panel of learning curves: values, dashes, colours, labels and scales against the histories."""
    wrong, runs, colours, drawn, updates = [], runs_of(record), {}, {}, panel["xlabel"] == UPDATES
    for line in panel["lines"]:
        (key, _, name), shade, (x, y) = line["of"].partition(" "), line["colour"], line["xy"]
        if key not in runs:  # a level that is no run
            plain = (shade, line["style"]) == ("black", ":") and [line["of"], shade] in [t[:2] for t in panel["texts"]]
            wrong += bad({f"{line['of']!r} is no run, and not a labelled dotted black line": not plain})
            continue
        run, metric = runs[key], name.removeprefix("val_")
        drawn.setdefault(name, []).append(key)
        colours.setdefault(json.dumps(run["settings"], sort_keys=True), set()).add(shade)
        step = -(-record["sizes"][run["dataset"]]["train"] // run["settings"]["batch_size"]) if updates else 1
        values = series(run["history"][name]) * (100 if metric in ("accuracy", "dead") else 1)
        wrong += bad({
            f"{line['of']}: x is {x}, not multiples of {step}": not near(x, step * np.arange(1, len(values) + 1)),
            f"{line['of']}: not the history of {run['name']}, seed {run['seed']}": not near(y, values),
            f"{line['of']} is drawn {line['style']!r}": line["style"] != ("-" if name == metric else "--"),
        })  # fmt: skip
    shades = [shade for group in colours.values() for shade in group]
    labels = [text for shade in shades for text, colour, *_ in panel["texts"] if colour == shade]
    heights = [y for shade in shades for _, colour, _, y in panel["texts"] if colour == shade]
    first = next(iter(drawn))
    last = "--" if f"val_{first}" in drawn else "-"  # a label stands where the lines on dev end
    ends = [[i["xy"][1][-1] for i in panel["lines"] if (i["colour"], i["style"]) == (shade, last)] for shade in shades]
    means = np.array([np.mean(series(values)) for values in ends])
    in_order = len({*means.round(6)}) < len(means) or [*np.argsort(heights)] == [*np.argsort(means)]
    values = np.concatenate([series(line["xy"][1]) for line in panel["lines"]])
    wide = np.nanmax(values) > 100 * min(values[values > 0], default=np.inf) and first in ("data_loss", "norm_1")
    told = len({*shades, "black"}) == 1 + len(shades) == 1 + len(colours)
    parts = {first} if first in ("norm_1", "dead") else {first, f"val_{first}"}
    whole = drawn.keys() == parts and len(set(map(tuple, drawn.values()))) == 1
    scale = "log" if first in log - {"accuracy", "dead"} else "linear"
    axes = panel["ylabel"] == LABELS.get(first) and panel["xlabel"] in ("Epoch", UPDATES)
    return wrong + bad({
        f"experiments not told apart by colour, or black: {colours}": not told,
        f"labels in the lines' colours: {labels}, but “{alt}”": f"của {', '.join(labels)}; " not in alt,
        f"labels at {heights}, the lines end at {means}": not in_order,
        f"not one metric of each run on train and dev: {drawn}": not whole,
        f"{first} has axes {panel['xlabel']!r}, {panel['ylabel']!r}": not axes,
        f"{first} spans decades, its axis is linear and has no limits": wide and first not in log | limited,
        f"{first} is on a {panel['yscale']} axis": panel["yscale"] != scale,
        f"{panel['xlabel']} is on a {panel['xscale']} axis": panel["xscale"] != ("log" if updates else "linear"),
    })  # fmt: skip


def wrong_strokes(svg: str, panels: list[dict]) -> list[str]:
    """Lines of the record that the SVG does not draw in their colours and dashes, at their values."""
    wrong, drawn = [], iter(re.findall(rf'<g id="{RUN}[^"]*">.*?</g>', svg, re.DOTALL))
    size = np.array(re.search(r'viewBox="0 0 (\S+) (\S+)"', svg).groups(), float)
    for panel in panels:
        places = []  # (x, y) in the picture, and in the record
        for line in [line for line in panel["lines"] if re.match(RUN, line["of"])]:
            group = next(drawn, "")
            at = np.array(re.findall(r"[ML] (\S+) (\S+)", group), float).reshape(-1, 2)
            xy = np.array([*map(series, line["xy"])]).T
            as_told = f"stroke: {line['colour'].lower()}" in group and ("dasharray" in group) == (line["style"] == "--")
            as_told &= f'id="{line["of"]}"' in group
            as_told |= not np.isfinite(xy).all()  # a run that diverged leaves less, or nothing
            wrong += bad({f"{line['of']} is not in the SVG in its colour and dashes": not as_told})
            if len(at) == len(xy) and ((at > 1) & (at < size - 1)).all():  # nothing is clipped
                places.append(np.hstack([at, xy]))
        for i, axis in enumerate("xy" if places else ""):
            at, values = np.concatenate(places)[:, [i, i + 2]].T
            values = np.log(values) if panel[f"{axis}scale"] == "log" else values
            off = np.polyval(np.polyfit(values, at, 1 if np.ptp(values) > 0 else 0), values) - at
            wrong += bad({f"the SVG is not at the {axis} of {panel['ylabel']} in the record": np.abs(off).max() > 0.05})
    return wrong


def wrong_figure(output, panels: list[dict], wants: list[set], record: dict) -> list[str]:
    """What one figure shows, in its two formats and its alternative text, and the record does not give."""
    about, svg = output.metadata["bth2"], output.data["image/svg+xml"]
    alt, title = about["alt"], unescape(re.search(r"<title>(.*?)</title>", svg)[1])
    pictures = [picture for panel in panels for picture in panel["pictures"]]
    found = bad({
        f"the SVG's title is “{title}”": title != f"Hình {about['number']}. {about['caption']}",
        "there is no PNG": not output.data.get("image/png", "").startswith("iVBOR"),
        f"“{alt}”": len(alt) <= 20 or {alt} != {output.data["text/plain"], output.metadata["image/png"]["alt"]},
        "the same picture twice": len(set(pictures)) != len(pictures),
        "a panel without a label": not all(panel["ylabel"] for panel in panels),
    })  # fmt: skip
    for panel in [panel for panel in panels if panel["lines"]]:
        found += wrong_curves(panel, alt, *wants, record)
    return [f"{about['key']}: {problem}" for problem in found + wrong_strokes(svg, panels)]


def wrong_figures(notebook) -> list[str]:
    """All that figures and captions show and the record does not give; empty for an honest notebook."""
    record, wants, wrong, drawn = find_record(notebook), asked(notebook), [], []
    numbers = {"Bảng": itertools.count(2), "Hình": itertools.count(1)}
    captions = {o.metadata["bth2"]["key"]: o.data["text/markdown"] for o in outputs(notebook, "caption")}
    for output in [o for cell in notebook.cells for o in cell.get("outputs", [])]:
        about = output.get("metadata", {}).get("bth2", {"kind": ""})
        if about["kind"] in ("figure", "table", "front"):
            kind = "Hình" if about["kind"] == "figure" else "Bảng"
            name, text = f"{kind} {about['number']}", about["caption"]
            numbered = about["number"] == (1 if about["kind"] == "front" else next(numbers[kind]))
            told = captions.get(name) == f"**{name}.** {text}" and record["texts"][f"caption {name}"]["text"] == text
            wrong += bad(
                {f"{name} is out of order": not numbered, f"{name} has another caption than “{text}”": not told}
            )
        if about["kind"] == "figure":
            drawn.append(about["key"])
            wrong += wrong_figure(output, record["drawn"][about["key"]], wants.get(about["key"], ()), record)
    return wrong + bad({f"shown: {drawn}, recorded: {[*record['drawn']]}": sorted(drawn) != sorted(record["drawn"])})


BOTH = pytest.mark.parametrize("which", ["notebook", "quick"])


@BOTH
def test_every_figure_shows_its_runs(request, which):
    found = wrong_figures(request.getfixturevalue(which))
    assert found == [], "\n".join(found)


def test_one_stand_in_of_two_data_sets_marks_every_figure(lab, monkeypatch):
    monkeypatch.setitem(lab, "RECORD", {"shown": {}, "texts": {}, "drawn": {}})
    monkeypatch.setitem(lab, "PLACES", {"Hình": {}})
    for stand_in in (True, False):
        texts = []
        monkeypatch.setitem(
            lab, "DATA", {"a": SimpleNamespace(stand_in=False), "b": SimpleNamespace(stand_in=stand_in)}
        )
        monkeypatch.setitem(lab, "print_figure", lambda fig, *_, found=texts, **__: found.extend(fig.texts) or "")
        lab["figure"]("key", lab["plt"].figure(), "caption", "alt")
        assert [text.get_text() for text in texts] == ["DỮ LIỆU THAY THẾ"] * 2 * stand_in


KINDS = {
    "accuracy": lambda p: p["ylabel"] == LABELS["accuracy"] and len({line["colour"] for line in p["lines"]}) == 2,
    "log": lambda p: p["yscale"] == "log",
    "updates": lambda p: p["xlabel"] == UPDATES,
}
FORGERIES = {  # of the first panel of a kind: what is edited, and how
    "dashes exchanged": ("accuracy lines", lambda x: [i | {"style": {"-": "--"}.get(i["style"], "-")} for i in x]),
    "two seeds exchanged": ("accuracy lines", lambda x: [x[0] | {"of": x[1]["of"]}, x[1] | {"of": x[0]["of"]}, *x[2:]]),
    "labels at the other line": ("accuracy texts", lambda x: [[*x[0][:3], x[1][3]], [*x[1][:3], x[0][3]], *x[2:]]),
    "dev left out": ("accuracy lines", lambda x: [i for i in x if i["style"] == "-"]),
    "one value": ("accuracy lines 0 xy 1", lambda x: [*x[:-1], x[-1] + 0.1]),
    "a black run": ("accuracy lines 0 colour", lambda _: "black"),
    "accuracy on a log axis": ("accuracy yscale", lambda _: "log"),
    "loss on a linear axis": ("log yscale", lambda _: "linear"),
    "updates for epochs": ("updates xlabel", lambda _: "Epoch"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_panel_is_found(notebook, name):
    forged, (path, edit) = copy.deepcopy(notebook), FORGERIES[name]
    kind, *steps = path.split()
    place = next(p for panels in find_record(forged)["drawn"].values() for p in panels if KINDS[kind](p))
    *steps, last = [int(step) if step.isdigit() else step for step in steps]
    for step in steps:
        place = place[step]
    place[last] = edit(place[last])
    assert wrong_figures(forged) != [], f"{name}: {path} was edited, and nothing was found"


def test_an_exchanged_picture_and_an_edited_history_are_found(notebook):
    forged = copy.deepcopy(notebook)
    a, b = outputs(forged, "figure")[1:3]
    a.data, b.data = b.data, a.data
    assert len(wrong_figures(forged)) >= 2
    forged = copy.deepcopy(notebook)
    line = next(p["lines"][0] for ps in find_record(forged)["drawn"].values() for p in ps if KINDS["accuracy"](p))
    line["xy"][1][0] += 1
    find_record(forged)["histories"][line["of"].split("-")[0]]["accuracy"][0] += 0.01
    assert any("SVG" in problem for problem in wrong_figures(forged)), "record and history agree, the picture does not"
