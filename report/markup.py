"""Everything a notebook holds, as Typst."""

import base64
import json
import mimetypes
import re
import subprocess
import unicodedata
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pypandoc
from nbconvert.filters import strip_ansi
from nbconvert.preprocessors import Preprocessor
from traitlets import Bool, Set

from .freshness import bth2

LUA = Path(__file__).with_name("markup.lua")
PICTURES = {f"image/{kind}": kind.removesuffix("+xml") for kind in ("svg+xml", "png", "jpeg", "gif", "webp")}
MARKDOWN = "gfm-emoji-yaml_metadata_block"
RICH_TEXT = {"text/markdown": MARKDOWN, "text/latex": "latex", "text/html": "html"}  # with pandoc's readers
# Code that only puts words together is not shown: its words are.
WRITING_KINDS = {"answer", "predictions", "abstract", "front"}
DROPPED_KINDS = {"caption", "progress", "record"}
WIDGET = "application/vnd.jupyter.widget-view+json"

# Jupyter takes formulas out before it reads Markdown, so that no line of theirs begins a list, and
# blanks may follow the dollar. Code is matched first, to be left alone.
MATH = re.compile(
    r"^ *(`{3,}|~{3,})[^\n]*\n.*?^ *\1|(?<!`)(`+)(?!`).*?(?<!`)\2(?!`)|\\[^b]"
    r"|\$\$(?P<display>.+?)\$\$|\$(?P<inline>(?:\\.|[^$\\])+)\$(?!\d)"
    r"|^(?P<bare>\\begin\{([a-z]+\*?)\}.*?\\end\{\6\})",
    re.MULTILINE | re.DOTALL,
)
LONGEST, BEGINNING, END = 50, 30, 10  # lines that a program printed


def clean(text: str) -> str:
    """Return the text without what neither Typst nor PDF can hold: control codes, half characters.

    A carriage return or backspace wipes what stands before it on the line, as on a terminal.
    """
    lines = strip_ansi(text).replace("\r\n", "\n").split("\n")
    text = "\n".join(re.split("[\r\b]", line.rstrip("\r\b"))[-1] for line in lines)
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))


def tidy_math(match: re.Match) -> str:
    """Return a formula of Jupyter's in one line, which pandoc reads, and anything else as it is."""
    kind = match.lastgroup if match["bare"] is None else "bare"
    tex = match[kind] if kind else ""
    prose = kind == "inline" and tex != tex.strip() and not re.search(r"[\\^_={}()<>+*/-]|^\s*\w\s*$", tex)
    if not tex.strip() or prose or re.search(r"\n\s*(\n|>)|(?<!\\)%", tex):  # "$ 5 or 6 $", a quotation, a comment
        return f"$$\n{tex}\n$$" if kind == "bare" else match[0]
    dollars = "$" if kind == "inline" else "$$"
    return dollars + " ".join(tex.split()) + dollars


def quote(text: str) -> str:
    r"""Return a Typst string literal; JSON has the same escapes for ``"``, ``\`` and newlines."""
    return json.dumps(clean(text), ensure_ascii=False)


def raw(text: str, lang: str | None = None) -> str:
    """Return a Typst block of code (with ``lang``) or of a program's output (without)."""
    text = quote(text.expandtabs(4).strip("\n"))
    return f"#raw({text}, block: true, lang: {quote(lang) if lang else 'none'})"


def printed(text: str) -> str:
    """Return the Typst code of what a program printed: of long outputs the beginning and the end."""
    lines = clean(text).strip("\n").split("\n")
    if len(lines) <= LONGEST:
        return raw("\n".join(lines)) if any(map(str.strip, lines)) else ""
    count = f"{len(lines) - BEGINNING - END:,}".replace(",", "\u202f")
    sentence = f"Ở đây đã lược bớt {count} dòng; notebook có đủ."
    return f"{raw(chr(10).join(lines[:BEGINNING]))}\n\n_{sentence}_\n\n{raw(chr(10).join(lines[-END:]))}"


def pandoc(fragments: list[dict]) -> dict:
    """Convert all fragments in one run of pandoc; ``markup.lua`` says what goes in and comes out."""
    command = [pypandoc.get_pandoc_path(), "lua", LUA]
    text = json.dumps(fragments, ensure_ascii=False).encode()
    done = subprocess.run(command, input=text, capture_output=True, check=False, timeout=300)
    if done.returncode:
        raise RuntimeError(f"pandoc: {done.stderr.decode(errors='replace')}")
    return json.loads(done.stdout)


def from_base64(text: str | bytes) -> bytes:
    """Return what a text in base64 stands for, or nothing where it is broken."""
    try:
        return base64.b64decode(text)
    except ValueError:
        return b""


class TypstPreprocessor(Preprocessor):
    """Give cells and outputs what they hold as Typst, and collect the pictures as files.

    It stands in ``typst``, of every cell but those of code and of every output, which also gets a
    ``caption`` where it has one. Pictures become ``resources["outputs"]``, as nbconvert's writers
    expect, and ``resources["pictures"]``, key to path, by which the Typst code names them. What
    belongs on page 1 becomes ``resources["abstract"]`` and ``resources["front"]``.
    """

    enabled = Bool(True).tag(config=True)
    rejected = Set(help="Keys of fragments and pictures that Typst could not compile.")

    def preprocess(self, nb, resources):
        """Return the notebook and the resources, both filled as the class says."""
        self.resources, self.fragments = resources, []
        resources.update(pictures={}, abstract=[], front=[], fragments={})
        resources.setdefault("outputs", {})
        title = next((cell for cell in nb.cells if cell.cell_type == "markdown"), None)
        for i, cell in enumerate(nb.cells):
            if cell.cell_type == "markdown":
                shortened = cell is title and resources.get("record")  # to the title and no more
                text = cell.source.strip().split("\n")[0] if shortened else cell.source
                self._add(cell, "typst", MARKDOWN, text, f"c{i}")
            elif cell.cell_type == "raw":
                cell["typst"] = raw(cell.source) if cell.source.strip() else ""
            elif cell.cell_type == "code":
                for j, output in enumerate(cell.outputs):
                    if bth2(output).get("kind") in WRITING_KINDS:
                        cell.source = ""
                    self._output(output, f"o{i}-{j}")
        self._convert()
        return nb, resources

    def _output(self, output, key: str) -> None:
        """Fill in one output; with nothing if the report leaves it out."""
        kind = bth2(output).get("kind")
        if kind in ("abstract", "front"):
            self.resources[kind].append(output)
        if kind in DROPPED_KINDS:
            output["typst"] = ""
        elif output.output_type == "stream":
            output["typst"] = printed(output.text)
        elif output.output_type == "error":
            output["typst"] = printed("\n".join(output.traceback) or f"{output.ename}: {output.evalue}")
        else:
            self._data(output, key)

    def _data(self, output, key: str) -> None:
        """Fill in an output that comes in several forms from the best of them."""
        meta = bth2(output)
        data = output.get("data", {})  # none in what later formats may hold
        plain = data.get("text/plain", "")
        output["typst"] = "" if WIDGET in data else printed(plain)
        if "caption" in meta:
            self._add(output, "caption", MARKDOWN, meta["caption"], key + "-caption")
        for mime in PICTURES:
            if mime in data and self._picture(key, mime, data[mime]):
                alt = meta.get("alt") or (plain if not plain.startswith("<") else "")
                output["typst"] = f"#picture({quote(key)}, {quote(alt or 'Hình do mã vẽ ra')})"
                return
        for mime, reader in RICH_TEXT.items():
            if mime in data:
                self._add(output, "typst", reader, data[mime], key)
                return

    def _picture(self, key: str, mime: str | None, content: str | bytes) -> bool:
        """Keep a picture under its key; False when it is none, or one Typst cannot read."""
        if isinstance(content, str):
            content = content.encode() if mime == "image/svg+xml" else from_base64(content)
        if mime not in PICTURES or key in self.rejected or not content:
            return False
        folder = self.resources.get("output_files_dir") or "figures"
        path = f"{Path(folder).as_posix()}/{key}.{PICTURES[mime]}"
        self.resources["pictures"][key] = path
        self.resources["outputs"][path] = content
        return True

    def _add(self, owner, field: str, reader: str, text: str, key: str) -> None:
        """Keep a fragment for pandoc, and where the Typst code it becomes will stand."""
        # Without an end of line pandoc would not take a table's last row for one.
        text = clean(text) + "\n"
        text = MATH.sub(tidy_math, text) if reader == MARKDOWN else text
        # The headings of cells are those of the document; an output has none of these.
        fragment = {"format": reader, "text": text, "key": key, "headings": "cell_type" in owner}
        self.fragments.append((fragment, owner, field))

    def _convert(self) -> None:
        """Run pandoc and put what it returns in its places, if anything: what stands there is next best."""
        converted = pandoc([fragment for fragment, *_ in self.fragments])
        self.resources["title"] = converted["title"]
        for (fragment, owner, field), typst, images in zip(
            self.fragments, converted["typst"], converted["images"], strict=True
        ):
            key, typst = fragment["key"], typst.strip()
            self.resources["fragments"][key] = typst
            for i, source in enumerate(images, 1):
                self._linked_picture(f"{key}-{i}", source, owner.get("attachments", {}))
            owner[field] = raw(fragment["text"]) if key in self.rejected else typst or owner.get(field, "")

    def _linked_picture(self, key: str, source: str, attachments: dict) -> None:
        """Keep a picture that a text names, if it is an attachment, a data URI or a file at hand.

        Nothing is fetched from the network; the alt text then stands for the picture.
        """
        if source.startswith("attachment:"):
            for mime, content in attachments.get(source.removeprefix("attachment:"), {}).items():
                self._picture(key, mime, content)
        elif match := re.fullmatch(r"data:([^;,]+)[^,]*?(;base64)?,(.*)", source, re.DOTALL):
            content = unquote_to_bytes(match[3])
            self._picture(key, match[1], from_base64(content) if match[2] else content)
        elif not re.match(r"[a-zA-Z]+:", source):
            name = unquote_to_bytes(source).decode(errors="replace")
            path = Path(self.resources["metadata"].get("path", ""), name)
            if path.is_file():
                self._picture(key, mimetypes.guess_type(path, strict=False)[0], path.read_bytes())
