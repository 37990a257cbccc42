"""nbconvert exporters: a notebook as Typst, and as a PDF that Typst sets.

    jupyter nbconvert --to report.exporter.TypstPDFExporter notebook.ipynb

run from the repository's root. Only the fonts inside the ``typst`` wheel are used, and a date from
the notebook's own record, so the same notebook gives the same bytes everywhere.
"""

import json
import re
import tempfile
import unicodedata
from hashlib import sha256
from pathlib import Path

import typst
from nbconvert.exporters import TemplateExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from nbconvert.writers import FilesWriter
from traitlets import List, Unicode, default
from traitlets.config import Config

from .freshness import FreshnessPreprocessor, ReportError
from .markup import TypstPreprocessor, quote, raw

STANDARDS = ["ua-1", "a-2a"]
MISSING_GLYPH = re.compile(r'the text `"(.*?)"` could not be displayed')


def notebook_hash(nb) -> str:
    """Return the hash that ties a PDF to its notebook; layout of the JSON file does not matter."""
    return sha256(json.dumps(nb, sort_keys=True).encode()).hexdigest()


def spoken(char: str) -> str:
    """Return what stands for a character that no font has: its Unicode name in brackets."""
    if unicodedata.category(char) in ("Cf", "Mn"):
        return ""  # joiners and variation selectors, which were never seen
    name = unicodedata.name(char, "").lower()
    return f"[{name}]" if name and not name.startswith("cjk") else f"[U+{ord(char):04X}]"


class TypstExporter(TemplateExporter):
    """Write a notebook as Typst text, with its pictures as files beside it."""

    export_from_notebook = "Typst"
    output_mimetype = "text/x-typst"

    course = Unicode("Thực hành Deep learning cho Khoa học dữ liệu (DS201)", help="The line above the title.").tag(
        config=True
    )

    file_extension = Unicode(".typ").tag(config=True)
    template_extension = Unicode(".typ.j2").tag(config=True, affects_environment=True)
    template_name = Unicode("bth2_typst").tag(config=True, affects_template=True)
    extra_template_basedirs = List([str(Path(__file__).with_name("templates"))]).tag(
        config=True, affects_environment=True
    )

    @default("default_preprocessors")
    def _default_preprocessors_default(self):
        self.markup = TypstPreprocessor(parent=self)
        return [
            "nbconvert.preprocessors.ExecutePreprocessor",
            FreshnessPreprocessor(parent=self),
            CoalesceStreamsPreprocessor(parent=self, enabled=True),
            "nbconvert.preprocessors.ClearOutputPreprocessor",
            "nbconvert.preprocessors.TagRemovePreprocessor",
            "nbconvert.preprocessors.RegexRemovePreprocessor",
            "nbconvert.preprocessors.HighlightMagicsPreprocessor",
            self.markup,
        ]

    @property
    def default_config(self):
        c = Config()
        c.TagRemovePreprocessor.remove_cell_tags = {"hide"}
        c.TagRemovePreprocessor.remove_input_tags = {"setup", "settings", "record", "hide-input"}
        c.HighlightMagicsPreprocessor.enabled = True
        c.merge(super().default_config)
        return c

    def default_filters(self):
        yield from super().default_filters()
        yield "typst_string", quote
        yield "typst_raw", raw
        yield "vietnamese_date", lambda iso: "/".join(reversed(iso.split("-")))

    def from_notebook_node(self, nb, resources=None, **kw):
        """Return the Typst text and the resources."""
        resources = self._init_resources(resources)
        resources["notebook_hash"] = notebook_hash(nb)
        resources["course"] = self.course
        return super().from_notebook_node(nb, resources, **kw)


class TypstPDFExporter(TypstExporter):
    """Set a notebook as a PDF that conforms to PDF/UA-1 and PDF/A-2a."""

    export_from_notebook = "PDF qua Typst"
    output_mimetype = "application/pdf"

    def from_notebook_node(self, nb, resources=None, **kw):
        """Return the bytes of the PDF and the resources."""
        self.markup.rejected = set()
        for suspects in ("pictures", "fragments", None):
            text, done = super().from_notebook_node(nb, resources, **kw)
            try:
                pdf = self._compile(text, done, STANDARDS)
                break
            except typst.TypstError as error:
                if suspects is None:
                    raise ReportError(f"Typst không dựng được PDF: {error}.") from error
                # Something is beyond Typst: find it, and show its alt text or source instead.
                self.markup.rejected |= self._find_rejected(text, done, suspects)
        done["output_extension"] = ".pdf"
        done.pop("outputs")  # they are inside the PDF
        return pdf, done

    def _find_rejected(self, text: str, resources, suspects: str) -> set[str]:
        """Return the keys of the ``"pictures"`` or ``"fragments"`` that do not compile alone."""
        pieces = resources["fragments"]
        if suspects == "pictures":
            pieces = {key: f'#picture({quote(key)}, "")' for key in resources["pictures"]}
        preamble = text.split("#show: report.with(", maxsplit=1)[0]
        rejected = set()
        for key, piece in pieces.items():
            try:
                self._compile(preamble + piece, resources, [])
            except typst.TypstError:
                rejected.add(key)
        return rejected

    def _compile(self, text: str, resources, standards: list[str]) -> bytes:
        """Return the PDF of a Typst text; raises typst.TypstError."""
        with tempfile.TemporaryDirectory() as folder:
            main = FilesWriter(build_directory=folder).write(text, resources, notebook_name="main")
            glyphs: dict[str, str] = {}
            while True:
                try:
                    return typst.compile(
                        main,
                        root=folder,
                        ignore_system_fonts=True,
                        sys_inputs={"glyphs": json.dumps(glyphs)},
                        pdf_standards=standards,
                    )
                except typst.TypstError as error:
                    # The compiler itself knows what its fonts lack: tell it how to say that.
                    missing = "".join(MISSING_GLYPH.findall(str(error.diagnostic)))
                    missing = re.sub(r"\\u\{(\w+)\}", lambda match: chr(int(match[1], 16)), missing)
                    new = {char: spoken(char) for char in missing if char not in glyphs}
                    if not new:
                        raise
                    glyphs |= new
