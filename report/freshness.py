"""Whether the outputs saved in a notebook are those of the code saved in it."""

import re
from hashlib import sha256
from itertools import groupby, zip_longest

from nbconvert.preprocessors import Preprocessor
from nbconvert.utils.exceptions import ConversionException

KINDS = {
    "figure": "hình", "table": "bảng", "front": "bảng", "abstract": "tóm lược", "answer": "câu trả lời",
    "expect": "kỳ vọng", "verdicts": "đối chiếu kỳ vọng", "caption": "chú thích", "text": "đoạn văn",
}  # fmt: skip
PERSONAL = re.compile(r"^(?:MSSV|HO_TEN|LOP)\s*=.*\n?", re.MULTILINE)  # what ``submit`` rewrites


class ReportError(ConversionException):
    """What the user can put right, in one Vietnamese sentence."""


def bth2(output) -> dict:
    """Return what the notebook says of an output of its own, ``{}`` for any other output."""
    return output.get("metadata", {}).get("bth2", {})


def find_record(nb) -> dict | None:
    """Return the record of the run, which its last code cell leaves, or None."""
    for cell in reversed(nb.cells):
        for output in cell.get("outputs", []):
            if bth2(output).get("kind") == "record":
                return bth2(output)["record"]
    return None


def code_cells(nb) -> list[tuple[str, dict]]:
    """Return the code cells that are not empty, each with the heading it stands under."""
    cells, heading = [], ""
    for cell in nb.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("## "):
            heading = cell.source.splitlines()[0].lstrip("# ")
        elif cell.cell_type == "code" and cell.source.strip():
            cells.append((heading, cell))
    return cells


def source_hash(cell) -> str:
    """Return the hash by which the record knows the source of a cell, whoever the student is."""
    return sha256(PERSONAL.sub("", cell.source).strip().encode()).hexdigest()


def checksum(output) -> str:
    """Return the checksum by which the record knows what was shown."""
    text = "".join(f"{mime}\n{content.strip()}\n" for mime, content in sorted(output.data.items()))
    return sha256(text.encode()).hexdigest()[:16]


def broken_seal(nb, sealed: list[tuple[str, str]]) -> str | None:
    """Say which output is the first that is not what the run has shown in that place; None if there is none."""
    found = [
        (f"{bth2(output)['kind']} {bth2(output).get('key', '')}", heading, output)
        for heading, cell in code_cells(nb)
        for output in cell.outputs
        if bth2(output).get("kind", "record") not in ("progress", "record")
    ]
    names = [name for name, *_ in found]
    captions = {name: output.data.get("text/markdown", "") for name, _, output in found}
    for i, ((name, heading, output), (wanted, sum_, *_)) in enumerate(
        zip_longest(found, sealed, fillvalue=("", "", None))
    ):
        what = "không phải là kết quả đã chạy"
        if name == wanted:
            word = "Hình" if name.startswith("figure ") else "Bảng"
            caption = captions.get(f"caption {word} {bth2(output).get('number')}")
            if checksum(output) == sum_ and (caption is None or bth2(output).get("caption", "") in caption):
                continue
        elif wanted and wanted not in names:
            name, what = wanted, "đã bị xoá"
        elif name in names[:i] or name not in dict(sealed):
            what = "được thêm vào sau lần chạy đã lưu"
        else:
            what = "không đứng ở chỗ của nó"
        kind, _, key = name.partition(" ")
        where = f"mục “{heading}”" if heading else "ở đầu hay cuối notebook"
        return f"{KINDS.get(kind, kind)} “{key}” ({where}) {what}"
    return None


def staleness(nb) -> str | None:
    """Say which cell or output is the first that cannot be trusted and why; None if there is none.

    Without a record, only execution counts and errors tell. One run again after an interrupt is no fault.
    """
    record = find_record(nb)
    hashes = record["cells"] if record else None
    last, cells = 0, code_cells(nb)
    for i, (heading, cell) in enumerate(cells):
        if cell.execution_count is None:
            what = "chưa được chạy"
        elif cell.execution_count <= last:
            what = "đã được chạy không theo thứ tự từ trên xuống"
        elif any(output.output_type == "error" for output in cell.outputs):
            what = "đã dừng vì lỗi"
        elif hashes is not None and hashes.get(str(cell.execution_count)) != source_hash(cell):
            what = "khác với mã đã chạy (bị sửa, thêm hoặc xoá sau khi chạy)"
        else:
            last = cell.execution_count
            continue
        where = f"mục “{heading}”, " if heading else ""
        first_line = cell.source.strip().splitlines()[0][:60]
        return f"ô mã thứ {i + 1} ({where}dòng đầu “{first_line}”) {what}"
    if not record:
        return None
    # What ran and is not there was run again, if what ran next to it was, too (from the edited cell to the last).
    here = {source_hash(cell) for _, cell in cells}
    gone = sorted(set(map(int, hashes)) - {0} - {cell.execution_count for _, cell in cells})
    for _, stretch in groupby(enumerate(gone), lambda pair: pair[1] - pair[0]):  # numbers in a row
        if here.isdisjoint(hashes[str(count)] for _, count in stretch):
            return "có ô mã đã chạy mà nay không còn (bị xoá, hoặc sửa rồi chạy lại giữa chừng)"
    return broken_seal(nb, record["shown"])


def limits(record: dict | None) -> list[tuple[str, str]]:
    """Say what keeps a run's numbers from being results, each as a mark for the header and a sentence for page 1."""
    found = []
    if record and record["profile"] != "full":
        sentence = "Đây là bản chạy nhanh (quick): các số liệu không phải kết quả thực hành."
        found.append(("BẢN CHẠY NHANH", sentence))
    for name, data in record["data"].items() if record else ():
        if data["stand_in"]:
            sentence = f"Dữ liệu {name} là dữ liệu thay thế, không phải bộ thật: {data['source']}"
            found.append(("DỮ LIỆU THAY THẾ", f"{sentence.rstrip('.')}."))
    return found


class FreshnessPreprocessor(Preprocessor):
    """Say on page 1 what keeps the numbers from being results; change nothing, refuse nothing."""

    enabled = True

    def preprocess(self, nb, resources):
        """Put ``record`` and ``warnings`` (as ``limits`` has them) into the resources."""
        resources["record"] = find_record(nb)
        resources["warnings"] = limits(resources["record"])
        if stale := staleness(nb):
            sentence = f"Kết quả dưới đây có thể không khớp với mã vì {stale}."
            resources["warnings"].insert(0, ("KẾT QUẢ CŨ", sentence))
        return nb, resources
