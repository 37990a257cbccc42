"""nbconvert exporters: a notebook as Typst, and as a PDF that Typst sets.

Only the fonts of the ``typst`` and ``fontpkg`` wheels are used, and a date from the notebook's own record,
so the same notebook gives the same bytes everywhere.
"""

import json
import re
import subprocess
import tempfile
from hashlib import sha256
from multiprocessing import TimeoutError
from multiprocessing.pool import ThreadPool
from pathlib import Path

import fontpkg_jetbrains_mono
import typst
from nbconvert.exporters import TemplateExporter
from nbconvert.writers import FilesWriter
from traitlets import List, Unicode, default
from traitlets.config import Config

from .freshness import FreshnessPreprocessor, ReportError
from .markup import PATIENCE, TypstPreprocessor, quote, spoken

TEMPLATES = Path(__file__).with_name("templates")
STANDARDS = ["ua-1", "a-2a"]
FONTS = typst.Fonts(include_system_fonts=False, font_paths=[fontpkg_jetbrains_mono.ROOT / "files"])
COMPILER = ThreadPool(1)  # a compiler cannot be stopped: it is left behind, and ends with the command
MISSING_GLYPH = re.compile(r'the text `"(.*?)"` could not be displayed')
# What may be at fault, in the order in which it is looked for, and what then stands in its place.
INSTEAD = {
    "pictures": "Typst không nhận một hình, thay bằng chú thích của hình",
    "formulas": "Typst không nhận công thức {}, thay bằng mã LaTeX",
    "fragments": "Typst không nhận một phần, thay bằng chữ gốc",
}
# The tags by which people hide cells, of this project and of Jupyter Book.
HIDDEN = {
    "remove_cell_tags": {"hide", "remove-cell", "hide-cell"},
    "remove_input_tags": {"setup", "settings", "record", "hide-input", "remove-input"},
    "remove_all_outputs_tags": {"remove-output", "hide-output"},
}


def notebook_hash(nb) -> str:
    """Return the hash that ties a PDF to its notebook; layout of the JSON file does not matter."""
    return sha256(json.dumps(nb, sort_keys=True).encode()).hexdigest()


def first_words(cell) -> str:
    """Return by what a reader knows a cell."""
    return " ".join(cell.source.split())[:50]


class TypstExporter(TemplateExporter):
    """Write a notebook as Typst text, with its pictures as files beside it."""

    output_mimetype = "text/x-typst"
    file_extension = Unicode(".typ").tag(config=True)
    template_extension = Unicode(".typ.j2").tag(config=True, affects_environment=True)
    template_name = Unicode("bth2_typst").tag(config=True, affects_template=True)
    extra_template_basedirs = List([str(TEMPLATES)]).tag(config=True, affects_environment=True)

    @default("default_preprocessors")
    def _default_preprocessors_default(self):
        self.markup = TypstPreprocessor(parent=self)
        return [
            "nbconvert.preprocessors.ExecutePreprocessor",
            FreshnessPreprocessor(parent=self),
            "nbconvert.preprocessors.ClearOutputPreprocessor",
            "nbconvert.preprocessors.TagRemovePreprocessor",
            "nbconvert.preprocessors.RegexRemovePreprocessor",
            "nbconvert.preprocessors.HighlightMagicsPreprocessor",
            self.markup,
        ]

    @property
    def default_config(self):
        c = Config()
        for trait, tags in HIDDEN.items():
            setattr(c.TagRemovePreprocessor, trait, tags | {tag.replace("-", "_") for tag in tags})
        c.HighlightMagicsPreprocessor.enabled = True
        c.merge(super().default_config)
        return c

    def default_filters(self):
        yield from super().default_filters()
        yield "typst_string", quote
        yield "vietnamese_date", lambda iso: "/".join(reversed(iso.split("-")))

    def from_notebook_node(self, nb, resources=None, **kw):
        """Return the Typst text and the resources."""
        return super().from_notebook_node(nb, (resources or {}) | {"notebook_hash": notebook_hash(nb)}, **kw)


class TypstPDFExporter(TypstExporter):
    """Set a notebook as a PDF that conforms to PDF/UA-1 and PDF/A-2a."""

    output_mimetype = "application/pdf"

    def from_notebook_node(self, nb, resources=None, **kw):
        """Return the PDF and the resources; their ``notes`` say what stands there otherwise."""
        self.markup.rejected, notes = set(), []
        try:
            pdf, done = self._set(nb, resources, notes, **kw)
        except (TimeoutError, subprocess.TimeoutExpired):
            number, cell = max(enumerate(nb.cells, 1), key=lambda pair: len(pair[1].source))
            what = f"hãy rút ngắn ô {number} (“{first_words(cell)}”), ô dài nhất"
            raise ReportError(f"Sau {PATIENCE} giây vẫn chưa dựng xong: {what}.") from None
        for note in notes:
            self.log.warning(note)
        done |= {"output_extension": ".pdf", "notes": notes}
        done.pop("outputs")  # they are inside the PDF
        return pdf, done

    def _set(self, nb, resources, notes: list[str], **kw):
        """Return the PDF and the resources; ``notes`` gets what is replaced."""
        for suspects in (*INSTEAD, None):
            text, done = super().from_notebook_node(nb, resources, **kw)
            try:
                return self._compile(text, done, STANDARDS), done
            except typst.TypstError as error:
                if suspects is None:
                    notes.append(f"PDF này không theo chuẩn PDF/UA-1 và PDF/A-2a: {error}.")
                    break  # a PDF of which at least the text can be read
                # Something is beyond Typst: find it, and show its alt text or source instead.
                for key in self._find_rejected(text, done, suspects):
                    self.markup.rejected.add(key)
                    number, formula = int(re.match(r"\d+", key)[0]), key.partition(" ")[2]
                    what = INSTEAD[suspects].format(formula)
                    notes.append(f"Ô {number} (“{first_words(nb.cells[number - 1])}”): {what}.")
        try:
            text = text.replace("  abstract: [", f"  abstract: [\n#warning({quote(notes[-1])})", 1)
            return self._compile(text, done, []), done
        except typst.TypstError as error:
            raise ReportError(f"Typst không dựng được PDF: {error}.") from error

    def _find_rejected(self, text: str, resources, suspects: str) -> list[str]:
        """Return the keys of the ``"pictures"``, ``"formulas"`` or ``"fragments"`` that do not compile."""
        pieces = resources[suspects]
        if suspects == "pictures":
            pieces = {key: f'#picture({quote(key)}, "…")' for key in pieces}
        preamble = text.split("#show: report.with(", maxsplit=1)[0] + '#set document(title: "…")\n'
        levels = "".join(f"\n{'=' * level} …\n" for level in range(1, 7))  # no heading's level is skipped then

        def search(keys: list[str]) -> list[str]:
            try:
                self._compile(preamble + "".join(f"{levels}{pieces[key]}\n\n" for key in keys), resources, STANDARDS)
                return []
            except typst.TypstError:
                half = len(keys) // 2
                return search(keys[:half]) + search(keys[half:]) if half else keys

        return search(list(pieces))

    def _compile(self, text: str, resources, standards: list[str]) -> bytes:
        """Return the PDF of a Typst text; raises typst.TypstError, or TimeoutError."""
        with tempfile.TemporaryDirectory() as folder:
            options = {"root": folder, "font_paths": FONTS, "pdf_standards": standards}
            main = FilesWriter(build_directory=folder).write(text, resources, notebook_name="main")
            glyphs: dict[str, str] = {}
            while True:
                options["sys_inputs"] = {"glyphs": json.dumps(glyphs)}
                try:
                    return COMPILER.apply_async(typst.compile, (main,), options).get(PATIENCE)
                except typst.TypstError as error:
                    # The compiler itself knows what its fonts lack: tell it how to say that.
                    missing = "".join(MISSING_GLYPH.findall(str(error.diagnostic)))
                    missing = re.sub(r"\\u\{(\w+)\}", lambda match: chr(int(match[1], 16)), missing)
                    new = {char: spoken(char) for char in missing if char not in glyphs}
                    if not new:
                        raise
                    glyphs |= new
