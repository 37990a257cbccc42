"""Everything a notebook holds, as Typst."""

import io
import json
import re
import subprocess
import unicodedata
from base64 import b64decode
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes

import pypandoc
from nbconvert.preprocessors import Preprocessor
from PIL import Image

from .browser import flat, for_pandoc, readable
from .freshness import bth2

LUA = Path(__file__).with_name("markup.lua")
MARKDOWN = "gfm-emoji-yaml_metadata_block-gfm_auto_identifiers"
RICH_TEXT = {
    "text/html": "html-auto_identifiers",
    "text/markdown": MARKDOWN,
    "text/latex": "latex",
}  # with pandoc's readers
# What Jupyter would show of an output, the first that there is.
SVG = "image/svg+xml"
FORMS = [*RICH_TEXT, SVG, *(f"image/{kind}" for kind in ("png", "jpeg", "gif", "webp", "bmp", "tiff"))]
SHOWN = [*FORMS, "text/plain", "application/json", "application/javascript"]  # the rest takes a program of its own
# Code that only puts words together is not shown: its words are.
WRITING_KINDS = {"answer", "predictions", "expect", "verdicts", "abstract", "front"}
DROPPED_KINDS = {"caption", "progress", "record"}
WIDGET = "application/vnd.jupyter.widget-view+json"
OBJECT = re.compile(r"<IPython\.core\.display\.\w+ object>")
# Sources and outputs that are folded away: by JupyterLab, extensions, Kaggle, and for sources by Colab and Quarto.
SOURCE_FOLDED = "source_hidden", "hide_input", "_kg_hide-input"
OUTPUT_FOLDED = "outputs_hidden", "hide_output", "_kg_hide-output"
ECHO_FALSE = re.compile(r"(#\|.*\n)*#\| *echo: *false")

# Jupyter takes formulas out before it reads Markdown, so that no line of theirs begins a list, and
# blanks may follow the dollar. Code is matched first, to be left alone. A table may follow a line of text.
MATH = re.compile(
    r"^ *(?P<fence>`{3,}|~{3,})[^\n]*\n.*?^ *(?P=fence)|(?<!`)(?P<tick>`+)(?!`).*?(?<!`)(?P=tick)(?!`)|\\[^b]"
    r"|\$\$(?P<display>.+?)\$\$|\$(?P<inline>(?:\\.|[^$\\])+)\$(?!\d)"
    r"|^(?P<bare>\\begin\{(?P<name>[a-z]+\*?)\}.*?\\end\{(?P=name)\})|(?<=\]\()(?P<named>attachment:[^()<>\n]*)"
    r"|(?P<html><svg\b.*?</svg>|<table\b(?:(?!<table\b|<thead).)*?rowspan(?:(?!<table\b|<thead).)*?</table>)"
    r"|(?<=\S)(?P<table>[^\S\n]*\n(?P<left>[> ]*)(?=[^\n|]*\|[^\n]*\n[> ]*\|?(?: *:?-+:? *\|)+(?: *:?-+:?)? *$))",
    re.MULTILINE | re.DOTALL,
)
PATIENCE = 120  # seconds that pandoc or Typst may take
# Rows on paper of what a program printed, and the characters in one.
LONGEST, BEGINNING, END, WIDTH = 50, 30, 10, 105
ROW = re.compile(rf"[^\n]{{1,{WIDTH}}}\n?|\n")
LONGEST_RICH = 300  # rows of a table or text; what is longer is set as if it was printed
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")  # of a terminal
ENDLESS = re.compile(r"[^\s<>\\&]{2000,}")  # words that nobody reads, on which pandoc would take minutes
# Control codes, half and private characters, and marks of no width, which would be copied into other words.
FORBIDDEN = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\xad\u200c\u200d\u2060-\u2064"
    "\ud800-\uf8ff\ufe0e\ufe0f\ufeff\ufffe\uffff\U000f0000-\U0010ffff]"
)


def clean(text: str) -> str:
    """Return the text as Jupyter shows it, accents composed, without what neither Typst nor PDF can hold."""
    text = unicodedata.normalize("NFC", ESCAPES.sub("", text).replace("\r\n", "\n"))
    text = "\n".join(map(typed, text.split("\n")))
    return FORBIDDEN.sub(lambda c: spoken(c[0]) if unicodedata.category(c[0]) == "Co" else "", text)


def typed(line: str) -> str:
    """Return what is left of a line after its backspaces and carriage returns."""
    shown: list[str] = []
    for part in line.split("\r"):
        kept: list[str] = []
        for char in part:
            if char != "\b":
                kept.append(char)
            elif kept:
                kept.pop()
        shown[: len(kept)] = kept
    return "".join(shown)


def spoken(char: str) -> str:
    """Return what stands for a character that no font has: its Unicode name in brackets."""
    if unicodedata.category(char) in ("Cf", "Mn"):
        return ""  # joiners and variation selectors, which were never seen
    name = unicodedata.name(char, "").lower()
    return f"[{name}]" if name and not name.startswith("cjk") else f"[U+{ord(char):04X}]"


def tidy(match: re.Match) -> str:
    """Return a formula of Jupyter's in one line, which pandoc reads, and anything else as it is."""
    start = match.string.rfind("\n", 0, match.start()) + 1
    in_table = match.string[start : start + 40].lstrip("> ")[:1] == "|"
    if match["table"]:
        return match[0] if in_table else f"\n{match['left'].rstrip()}\n{match['left']}"
    if match["html"]:
        return for_pandoc(match[0])
    if match["named"]:
        return match["named"].replace(" ", "%20")
    kind = next((kind for kind in ("display", "inline", "bare") if match[kind]), None)
    tex = match[kind] if kind else ""
    prose = kind == "inline" and tex != tex.strip() and not re.search(r"[\\^_={}()<>+*/-]|^\s*\w\s*$", tex)
    if not tex.strip() or prose or re.search(r"\n\s*(\n|>)|(?<!\\)%", tex):  # "$ 5 or 6 $", a quotation, a comment
        return f"$$\n{tex}\n$$" if kind == "bare" else match[0]
    if kind == "inline" and in_table:
        tex = tex.replace(r"\|", r"\Vert ").replace("|", r"\vert ")  # in a table they would end the cell
    dollars = "$" if kind == "inline" else "$$"
    return dollars + " ".join(tex.split()) + dollars


def quote(text: str) -> str:
    r"""Return a Typst string literal; JSON has the same escapes for ``"``, ``\`` and newlines."""
    return json.dumps(clean(text), ensure_ascii=False)


def left_out(count: int, what: str) -> str:
    """Return the sentence that stands for what is left out."""
    return f"Ở đây đã lược bớt {count:,} {what}; notebook có đủ.".replace(",", "\u202f")


def shortened(text: str) -> str:
    """Return a text without the middle of its endless words, but for pictures."""

    def cut(match):
        sentence = left_out(len(match[0]) - 600, "ký tự")
        return match[0] if "data:" in match[0] else f"{match[0][:500]} … ({sentence}) … {match[0][-100:]}"

    return ENDLESS.sub(cut, text)


def raw(text: str, lang: str | None = None) -> str:
    """Return a Typst block of code (with ``lang``) or of a program's output (without)."""
    text = quote((shortened(text.expandtabs(4)) if lang else text.expandtabs(8)).strip("\n"))
    return f"#raw({text}, block: true, lang: {quote(lang) if lang else 'none'})" if text.strip('" ') else ""


def printed(text: str) -> str:
    """Return the Typst code of what a program printed: of long outputs the beginning and the end."""
    text = clean(text).expandtabs(8).strip("\n")
    rows = ROW.findall(text)
    if len(rows) <= LONGEST:
        return raw(text) if text.strip() else ""
    between = "".join(rows[BEGINNING:-END])
    lines = between.count("\n")
    sentence = left_out(lines or len(between), "dòng" if lines else "ký tự")
    return f"{raw(''.join(rows[:BEGINNING]))}\n\n_{sentence}_\n\n{raw(''.join(rows[-END:]))}"


def pandoc(fragments: list[dict], rejected: set[str]) -> dict:
    """Convert all fragments in one run of pandoc; ``markup.lua`` says what goes in and comes out."""
    command = [pypandoc.get_pandoc_path(), "lua", LUA]
    text = json.dumps({"fragments": fragments, "rejected": sorted(rejected)}, ensure_ascii=False).encode()
    done = subprocess.run(command, input=text, capture_output=True, check=False, timeout=PATIENCE)
    if done.returncode:
        raise RuntimeError(f"pandoc: {done.stderr.decode(errors='replace')}")
    return json.loads(done.stdout)


def picture(content: bytes) -> tuple[str, bytes] | None:
    """Return the kind of a picture, by its bytes, and the bytes as Typst and PDF/A take them; None if it is none."""
    if re.match(rb"\s*(\xef\xbb\xbf)?\s*<(svg|\?xml|!--|!DOCTYPE svg)", content) and b"<svg" in content:
        return "svg", content
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.format in ("PNG", "JPEG", "GIF", "WEBP") and image.mode != "CMYK":
                return image.format.lower(), content
            image.convert("RGB" if image.mode == "CMYK" else "RGBA").save(written := io.BytesIO(), "png")
            return "png", written.getvalue()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def folded(cell, *names: str) -> bool:
    """Tell whether the author has folded a part of a cell away, by one of these names."""
    return any(cell.metadata.get(name) or cell.metadata.get("jupyter", {}).get(name) for name in names)


def join_streams(outputs: list) -> list:
    """Return outputs with what was printed bit by bit in one piece; nbconvert would apply its carriage returns."""
    joined: list = []
    for output in outputs:
        if joined and output.output_type == joined[-1].output_type == "stream" and output.name == joined[-1].name:
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


class TypstPreprocessor(Preprocessor):
    """Give cells and outputs what they hold as ``typst``, and outputs their ``caption``.

    Into the resources go ``outputs``, the files of pictures, and ``pictures``, key to path; ``abstract`` and
    ``front``, for page 1; ``fragments`` and ``formulas``, the code of each. A key begins with the cell's number.
    """

    enabled = True
    rejected: frozenset[str] | set[str] = frozenset()  # keys of fragments, formulas and pictures beyond Typst

    def preprocess(self, nb, resources):
        """Fill the notebook and the resources as the class says."""
        self.resources, self.fragments = resources, []
        resources.update(pictures={}, abstract=[], front=[], fragments={})
        resources.setdefault("outputs", {})
        title = next((cell for cell in nb.cells if cell.cell_type == "markdown"), None)
        language = (nb.metadata.get("language_info") or {}).get("name", "python")
        for i, cell in enumerate(nb.cells):
            key = f"{i + 1}"
            if cell.cell_type == "markdown":
                shortened = cell is title and resources.get("record")  # to the title and no more
                text = cell.source.strip().split("\n")[0] if shortened else cell.source
                self._add(cell, "typst", MARKDOWN, text, key)
                continue
            if cell.cell_type == "code":
                kinds = {bth2(output).get("kind") for output in cell.outputs}
                form = cell.metadata.get("cellView") == "form" or ECHO_FALSE.match(cell.source)
                if kinds & WRITING_KINDS or form or folded(cell, *SOURCE_FOLDED):
                    cell.source = ""
                cell.outputs = [] if folded(cell, *OUTPUT_FOLDED) else join_streams(cell.outputs)
                height, dropped = 0, []
                for j, output in enumerate(cell.outputs, 1):
                    if height <= LONGEST_RICH or bth2(output) or "image/" in str([*output.get("data", ())]):
                        self._output(output, f"{key}.{j}")
                        height += self.height + 2
                    else:
                        dropped.append(output)
                        output["typst"] = ""
                if dropped:
                    dropped[0]["typst"] = f"_{left_out(len(dropped), 'kết quả')}_"
            language_here = cell.metadata.get("magics_language", language) if cell.cell_type == "code" else None
            self._set(cell, raw(cell.source, language_here), cell.source, key)
        self._convert()
        return nb, resources

    def _set(self, owner, typst: str, source: str, key: str) -> None:
        """Put the Typst code of a cell or output in its place, the source in plain letters where it was rejected."""
        self.resources["fragments"][key] = typst
        self.height = min(len(ROW.findall(source)), LONGEST)
        if key in self.rejected:
            typst = raw("".join(c if c.isalnum() or c.isascii() else spoken(c) for c in clean(source)))
        owner["typst"] = typst

    def _output(self, output, key: str) -> None:
        """Fill in one output, with nothing if the report leaves it out; ``height`` says how many rows it is."""
        self.height = 0
        kind = bth2(output).get("kind")
        if kind in ("abstract", "front"):
            self.resources[kind].append(output)
        if kind in DROPPED_KINDS:
            output["typst"] = ""
        elif output.output_type == "stream":
            self._set(output, printed(output.text), output.text, key)
        elif output.output_type == "error":
            text = "\n".join(output.traceback) or f"{output.ename}: {output.evalue}"
            self._set(output, printed(text), text, key)
        else:
            self._data(output, key)

    def _data(self, output, key: str) -> None:
        """Fill in an output of several forms from the one that Jupyter shows, or the next that can be read."""
        meta, data = bth2(output), output.get("data", {})  # none in what later formats may hold
        plain = data.get("text/plain", "")
        if "application/json" in data and OBJECT.match(plain):
            plain = json.dumps(data["application/json"], ensure_ascii=False, indent=2)
        nameless = WIDGET in data or re.fullmatch(r"<[^\n]*>(\n\nIf you see.*)?", plain.strip(), re.DOTALL)
        browser = [mime for mime in data if mime not in SHOWN and not re.match(r" *\d+%\|", plain)]
        self._set(output, "" if WIDGET in data or OBJECT.match(plain) else printed(plain), plain, key)
        if "caption" in meta:
            self._add(output, "caption", MARKDOWN, meta["caption"], key + "-caption")
        for mime in FORMS:
            content = data.get(mime, "")
            if mime == "text/html":
                content, widget = readable(content)
                if widget:
                    browser.append("HTML")
                    content = content if nameless else ""
            if mime in RICH_TEXT and content.strip():
                flattened = flat(content) if mime == "text/html" else content
                self.height = len(ROW.findall(flattened))
                if self.height > LONGEST_RICH:
                    self._set(output, printed(flattened if nameless or not plain.strip() else plain), plain, key)
                else:
                    self._add(output, "typst", RICH_TEXT[mime], content, key)
                return
            if mime not in RICH_TEXT and content:
                alt = meta.get("alt") or (plain if not nameless else "") or "Hình do mã vẽ ra"
                size = output.metadata.get(mime) or output.metadata
                size = "".join(f", {side}: {quote(str(size.get(side, '')))}" for side in ("width", "height"))
                drawing = f"#picture({quote(key)}, {quote(alt)}{size})"
                kept = self._picture(key, content.encode() if mime == SVG else content)
                if kept or not output["typst"]:
                    output["typst"] = drawing
                if kept:
                    self.height = 0
                    return
        if browser and (nameless or not plain.strip()):
            name = re.sub(r"application/(vnd\.)?|\W?v\d.*|\+json|jupyter\.|-view", "", browser[0])
            output["typst"] = f"#emph({quote(f'[Nội dung tương tác ({name}): chỉ xem được trong notebook]')})"

    def _picture(self, key: str, content: str | bytes) -> bool:
        """Keep a picture, a text being base64, under its key; False when it is none, or one Typst cannot read."""
        with suppress(ValueError):
            content = b64decode(content) if isinstance(content, str) else content
            if key not in self.rejected and (found := picture(content)):
                folder = self.resources.get("output_files_dir") or "figures"
                self.resources["pictures"][key] = path = f"{Path(folder).as_posix()}/{key}.{found[0]}"
                self.resources["outputs"][path] = found[1]
                return True
        return False

    def _add(self, owner, field: str, reader: str, text: str, key: str) -> None:
        """Keep a fragment for pandoc, and where the Typst code it becomes will stand."""
        # Without an end of line pandoc would not take a table's last row for one.
        text = shortened(clean(text)) + "\n"
        text = MATH.sub(tidy, text) if reader == MARKDOWN else text
        # The headings of cells are those of the document; an output has none of these.
        fragment = {"format": reader, "text": text, "key": key, "headings": "cell_type" in owner}
        self.fragments.append((fragment, owner, field))

    def _convert(self) -> None:
        """Run pandoc and put what it returns in its places, if anything: what stands there is next best."""
        converted = pandoc([fragment for fragment, *_ in self.fragments], self.rejected)
        for name in ("title", "heading", "formulas"):
            self.resources[name] = converted[name] or {}
        for (fragment, owner, field), typst, images in zip(
            self.fragments, converted["typst"], converted["images"], strict=True
        ):
            key, typst = fragment["key"], typst.strip()
            self.resources["fragments"][key] = typst
            for i, source in enumerate(images, 1):
                self._linked_picture(f"{key}-{i}", source, owner.get("attachments", {}))
            owner[field] = raw(fragment["text"]) if key in self.rejected else typst or owner.get(field, "")

    def _linked_picture(self, key: str, source: str, attachments: dict) -> None:
        """Keep a picture that a text names: an attachment, a data URI or a file at hand, nothing from the network."""
        name = clean(unquote(source))
        if name.startswith("attachment:"):
            named = {clean(unquote(attachment)): forms for attachment, forms in attachments.items()}
            for mime, content in named.get(name.removeprefix("attachment:"), {}).items():
                self._picture(key, content.encode() if mime == SVG else content)
        elif match := re.fullmatch(r"data:[^,]*?(;base64)?,(.*)", source, re.DOTALL):
            self._picture(key, unquote(match[2]) if match[1] else unquote_to_bytes(match[2]))
        elif not re.match(r"[a-zA-Z]+:", source):
            path = Path(self.resources["metadata"].get("path", ""), unquote(source))
            if path.is_file():
                self._picture(key, path.read_bytes())
