"""The report's commands: ``python -m report build | submit | run | html``, from the repository's root."""

import argparse
import codecs
import sys
import unicodedata
from pathlib import Path

# jsonschema would build the grammar of URIs at its import, which takes longer than setting the
# whole PDF; no notebook needs it, and jsonschema can do without.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

from .exporter import HIDDEN
from .files import read_notebook, render, write_together
from .freshness import ReportError
from .run import run
from .submit import submit

NOTEBOOK = Path("MSSV_BaiThucHanh2.ipynb")


def build(path: Path, output: Path | None, allow_stale: bool) -> list[Path]:
    """Write the PDF of a saved notebook."""
    output = output or Path("report", path.stem + ".pdf")
    write_together({output: render(read_notebook(path), path, allow_stale)})
    return [output]


def html(path: Path, output: Path | None) -> list[Path]:
    """Write the notebook as a web page without the code of set-up and answers."""
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    page, _ = HTMLExporter(config=Config({"TagRemovePreprocessor": {"enabled": True, **HIDDEN}})).from_notebook_node(
        read_notebook(path), {"metadata": {"name": path.stem, "path": str(path.parent)}}
    )
    output = output or Path("report", "build", path.stem + ".html")
    write_together({output: page.encode()})
    return [output]


def without_accents(error: UnicodeError) -> tuple[str, int]:
    """Say in plain letters what a console, as of Windows, has no letters for."""
    text = unicodedata.normalize("NFD", error.object[error.start : error.end].replace("đ", "d").replace("Đ", "D"))
    return "".join(c if c.isascii() else "?" for c in text if not unicodedata.combining(c)), error.end


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line: ``do`` is the function, the rest are its arguments."""
    top = argparse.ArgumentParser(prog="python -m report", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="build | submit | run | html")

    command = commands.add_parser("build", help="notebook đã lưu → PDF")
    command.add_argument("path", metavar="notebook", nargs="?", type=Path, default=NOTEBOOK)
    command.add_argument("--output", type=Path, help="mặc định: report/<tên notebook>.pdf")
    command.add_argument("--allow-stale", action="store_true", help="vẫn xuất, kèm cảnh báo")
    command.set_defaults(do=build)

    command = commands.add_parser("submit", help="cặp tệp để nộp, trong dist/")
    command.add_argument("--mssv", required=True)
    command.add_argument("--ho-ten", required=True)
    command.add_argument("--lop", required=True)
    command.add_argument("--nb", dest="path", metavar="NOTEBOOK", type=Path, default=NOTEBOOK)
    command.set_defaults(do=submit)

    command = commands.add_parser("run", help="chạy cả notebook, không sửa bản gốc")
    command.add_argument("--profile", choices=("full", "quick"), default="full")
    command.add_argument("--output-dir", type=Path, default=Path("report", "build"))
    command.add_argument("--nb", dest="path", metavar="NOTEBOOK", type=Path, default=NOTEBOOK)
    command.add_argument("--cwd", type=Path, default=Path(), help="thư mục làm việc của kernel")
    command.add_argument("--seeds", type=int, help="số seed của mỗi thí nghiệm; mặc định: như notebook")
    command.set_defaults(do=run)

    command = commands.add_parser("html", help="notebook đã lưu → trang web, không có mã thiết lập và trả lời")
    command.add_argument("path", metavar="notebook", nargs="?", type=Path, default=NOTEBOOK)
    command.add_argument("--output", type=Path, help="mặc định: report/build/<tên notebook>.html")
    command.set_defaults(do=html)
    return top


def main(argv: list[str] | None = None) -> int:
    """Run one command; return 0, 1 after an error of the user's, or 130 after Ctrl-C."""
    codecs.register_error("without_accents", without_accents)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="without_accents")
    args = vars(parser().parse_args(argv))
    try:
        for path in args.pop("do")(**args):
            print(f"Đã ghi {path}")
    except ReportError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Đã dừng.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
