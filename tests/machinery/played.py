"""The whole notebook played in seconds: every cell runs, no experiment is trained.

`train_jobs` gives each experiment a run with numbers that its settings and seed alone decide.
"""

import copy
import functools
import linecache
from types import SimpleNamespace

import nbformat
import numpy as np


def untrained(names, e, seed):
    """A Run with numbers from nowhere: a longer one begins with the same; squared errors of 0-255 diverge."""
    rng = np.random.default_rng(int(names["key_of"](e, seed), 16))
    diverges = type(e.loss).__name__ == "MeanSquaredError" and not e.rescaling
    ends = {"dead": (0, 0.5), "seconds": (2, 1), "norm_1": (30, 15), "norm_2": (30, 15)}
    for part in ("", "val_"):
        ends |= {f"{part}accuracy": (0.2, 0.95), f"{part}loss": (0.9, 0.2), f"{part}data_loss": (0.7, 0.1)}
    history = {}
    for key, (start, end) in ends.items():
        values = (end + (start - end) * 0.7 ** np.arange(200)) * rng.normal(1, 0.02, 200)
        history[key] = [np.nan] * (1 + ("loss" not in key)) if diverges else values[: e.epochs].tolist()
    parts = {"train": "", "dev": "val_", "test": "val_"}
    metrics = {p: {m: history[parts[p] + m][-1] for m in ("accuracy", "loss", "data_loss")} for p in parts}
    metrics["hidden"] = {"distinct": int(rng.choice([1, 784])), "near_zero": float(rng.random())}
    return names["Run"](e, seed, history, metrics, [])


FASTER = {"hidden: tuple = (784,)": "hidden: tuple = (16,)", "replace(base, epochs=50": "replace(base, epochs=1"}


class Played:
    """The notebook, executed with {what stands in a cell: what a student writes there}, and what its cells show."""

    def __init__(self, notebook, edits: dict[str, str], run=untrained):
        self.notebook, self.shown, self.history = copy.deepcopy(notebook), {}, [""]
        self.run_of, self.figures = run, {}
        kernel = SimpleNamespace(history_manager=SimpleNamespace(input_hist_raw=self.history))
        self.names = {"__name__": "__main__", "display": self.display, "get_ipython": lambda: kernel}
        self.edit(FASTER | edits)
        self.run()

    def edit(self, edits: dict[str, str]) -> None:
        for old, new in edits.items():
            places = [cell for cell in self.notebook.cells if old in cell.source]
            assert len(places) == 1, f"{old} stands in {len(places)} cells"
            places[0].source = places[0].source.replace(old, new)

    def display(self, data, metadata=None, raw=True, display_id=None, update=False):
        output = nbformat.v4.new_output("display_data", data, metadata=metadata or {})
        if update:
            self.shown[display_id].update(output)
        else:
            self.shown[display_id] = output
            self.cell.outputs.append(output)

    def print_figure(self, fig, form, **about) -> str:
        """In place of a picture, which takes seconds; what was drawn is kept for the tests to look at."""
        if form == "svg":
            self.figures[about["metadata"]["Title"].partition(".")[0]] = fig
        return f"{form} of {fig.get_size_inches()} inches, {about.get('dpi')} dots an inch"

    def state(self, run) -> list[np.ndarray]:
        """The first weights; the columns of W₁ as large as the name draws, W₁ itself as its history says."""
        first, *others = [v.numpy() for v in self.names["state_of"](self.names["network"](run.experiment, run.seed))]
        first *= np.random.default_rng([*run.experiment.name.encode()]).uniform(0.5, 1.5, first.shape[1])
        return [first * run.history["norm_1"][-1] / (np.linalg.norm(first) or 1), *others]

    def run(self, heading: str = "") -> None:
        """Run the cells from the one that begins so."""
        first = next(i for i, cell in enumerate(self.notebook.cells) if cell.source.startswith(heading))
        for cell in [cell for cell in self.notebook.cells[first:] if cell.cell_type == "code"]:
            self.cell, cell.outputs = cell, []
            self.history.append(cell.source)
            name = f"<cell {len(self.history)} of {id(self)}>"  # where `inspect` finds the source
            linecache.cache[name] = len(cell.source), None, cell.source.splitlines(keepends=True), name
            exec(compile(cell.source, name, "exec"), self.names)  # noqa: S102
            self.names.update({"print_figure": self.print_figure} if "print_figure" in self.names else {})
            if "def train_jobs(" in cell.source:
                self.names["train_jobs"] = lambda jobs: [self.run_of(self.names, *job) for job in jobs]
                self.names["key_of"] = functools.cache(self.names["key_of"])
                self.names["Run"].state = property(self.state)
