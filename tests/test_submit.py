"""Handing in: the two files of ``python -m report submit``; and ``python -m report run``."""

import ast
import io
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from pypdf import PdfReader
from report_samples import SETTINGS, code, course_notebook, markdown, notebook, table

from report import files
from report.__main__ import main, parser
from report.exporter import notebook_hash
from report.freshness import FreshnessPreprocessor, ReportError, find_record, limits
from report.run import ProgressLine, run
from report.submit import personalize, submit

STUDENT = {"mssv": "21520000", "ho_ten": "Nguyễn Văn A", "lop": "DS201.O11"}


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def saved(nb=None, **limits) -> Path:
    """A notebook as a file; if none is given, one of the course."""
    rows = "| Lần | Đúng |\n|:--|--:|\n| a | 97,25 |\n"
    nb = nb or course_notebook(markdown("## Bài 1"), code("x = 1", table(1, "Số đo.", rows)), **limits)
    nbformat.write(nb, "MSSV_BaiThucHanh2.ipynb")
    return Path("MSSV_BaiThucHanh2.ipynb")


def settings(nb) -> dict:
    """The constants of the settings cell, as Python reads them."""
    return {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(nb.cells[1].source).body}


def test_submit_writes_the_pair_or_says_one_line(capsys):
    before = (path := saved()).read_bytes()
    line = ["submit", "--nb", str(path), "--ho-ten", STUDENT["ho_ten"], "--lop", STUDENT["lop"], "--mssv"]
    assert [main([*line, "../x"]), capsys.readouterr().err.count("\n")] == [1, 1]
    assert main([*line, STUDENT["mssv"]]) == 0
    written = [Path("dist", f"21520000_BaiThucHanh2.{kind}") for kind in ("ipynb", "pdf")]
    assert sorted(Path("dist").iterdir()) == written
    assert path.read_bytes() == before, "the notebook itself was changed"

    nb, pdf = nbformat.read(written[0], as_version=4), PdfReader(written[1])
    assert settings(nb) == {"SEED": 0, "MSSV": "21520000", "HO_TEN": "Nguyễn Văn A", "LOP": "DS201.O11"}
    assert "# mã số sinh viên" in nb.cells[1].source, "the comment after a value was lost"
    assert find_record(nb)["settings"] == {**STUDENT, "seed": 0}
    first = " ".join(pdf.pages[0].extract_text().split())
    assert "MSSV: 21520000 · Họ tên: Nguyễn Văn A · Lớp: DS201.O11" in first and "97,25" in first
    assert (hashed := notebook_hash(nb)) in pdf.metadata["/Keywords"], "the PDF is not of this notebook"
    next(cell for cell in nb.cells if cell.get("outputs")).outputs[0].metadata["edited"] = True
    assert notebook_hash(nb) != hashed, "the PDF would be taken for that of a notebook with other outputs"


def test_what_was_handed_in_can_be_handed_in_again_under_the_name_of_its_lab():
    first, _ = submit(saved(lab="BaiThucHanh3"), **STUDENT)
    again = submit(first, **STUDENT | {"mssv": "2"})
    assert [p.name for p in again] == ["2_BaiThucHanh3.ipynb", "2_BaiThucHanh3.pdf"]


@pytest.mark.parametrize("name", ['O\'Neil "Tí"', "a\\", 'x"; import os #', "\\n", "{0} %s $HOME", "Đỗ Thị Ửng 🎉"])
def test_names_stay_names(name):
    nb = course_notebook()
    personalize(nb, "1", name, name)
    assert settings(nb)["HO_TEN"] == settings(nb)["LOP"] == name
    assert find_record(nb)["settings"]["ho_ten"] == name


@pytest.mark.parametrize("source", ["", SETTINGS.replace("LOP", "LỚP"), SETTINGS * 2, "MSSV = 5"])
def test_a_settings_cell_that_is_none(source):
    nb = course_notebook()
    nb.cells[1].source = source
    with pytest.raises(ReportError, match="settings"):
        personalize(nb, **STUDENT)


def test_one_stand_in_of_two_data_sets_is_enough():
    data = {name: {"stand_in": name == "b", "source": "x"} for name in "ab"}
    assert [mark for mark, _ in limits({"profile": "quick", "data": data})] == ["BẢN CHẠY NHANH", "DỮ LIỆU THAY THẾ"]


def test_a_stale_quick_run_says_both():
    nb = nbformat.read(saved(profile="quick"), as_version=4)
    for cell in nb.cells:
        cell.source = cell.source.replace("x = 1", "x = 2")
    _, resources = FreshnessPreprocessor().preprocess(nb, {})
    assert [mark for mark, _ in resources["warnings"]] == ["KẾT QUẢ CŨ", "BẢN CHẠY NHANH"]


NO_MSSV = ["", "../21520000", "a/b", "a\\b", "21 52", "MSSV.", "2152\n", "Đ1", "٣"]
NO_NAMES = [{"ho_ten": ""}, {"ho_ten": " "}, {"ho_ten": "A\nB"}, {"lop": "\x00"}]
AS_IT_IS = ("", "")
REFUSED = [  # the student, the run, what is edited: the sentence
    *[(STUDENT | {"mssv": mssv}, {}, AS_IT_IS, "MSSV") for mssv in NO_MSSV],
    *[(STUDENT | name, {}, AS_IT_IS, "HO_TEN|LOP") for name in NO_NAMES],
    (STUDENT, {"profile": "quick"}, AS_IT_IS, "bản chạy nhanh"),
    (STUDENT, {"stand_in": True}, AS_IT_IS, "dữ liệu thay thế"),
    (STUDENT, {}, ("SEED = 0", "SEED = 7"), "ô mã thứ 1"),
    (STUDENT, {}, ("x = 1", "x = 2"), "ô mã thứ 2"),
    (STUDENT, {}, ('"kind": "record"', '"kind": "none"'), "chưa có bản ghi"),
]


@pytest.mark.parametrize(("student", "limits", "edit", "sentence"), REFUSED, ids=str)
def test_another_seed_and_whatever_is_no_result_or_name_is_not_handed_in(student, limits, edit, sentence):
    path = saved(**limits)
    path.write_text(path.read_text("utf-8").replace(*edit), "utf-8")
    with pytest.raises(ReportError, match=sentence):
        submit(path, **student)
    assert not Path("dist").exists()


def test_nothing_half_done_is_left(monkeypatch):
    before = {path: path.read_bytes() for path in submit(saved(), **STUDENT)}
    write_bytes = Path.write_bytes

    def full_disk(path, data):
        if ".pdf" in path.name:
            raise OSError(28, "No space left on device")
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(ReportError, match="Không ghi được"):
        files.write_together(dict.fromkeys(before, b"new"))
    assert {path: path.read_bytes() for path in Path("dist").iterdir()} == before


# ---------------------------------------------------------------- running without a browser
PROGRESS = """\
import os
from IPython.display import display
says = {"bth2": {"kind": "progress"}}
handle = display({"text/plain": "bắt đầu"}, raw=True, display_id=True, metadata=says)
handle.update({"text/plain": "epoch 3"}, raw=True, metadata=says)
print(os.environ["BTH2_PROFILE"], os.environ["BTH2_SEEDS"], os.getcwd())"""


def test_run_writes_a_copy_and_its_pdf_and_never_over_its_notebook(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(ProgressLine, "show", lambda self, text: shown.append(text))
    there, build = tmp_path / "nơi làm việc", Path("build")
    there.mkdir()
    before = (path := saved(notebook(markdown("# T"), code(PROGRESS), run=False))).read_bytes()
    written = run(path, build, "quick", cwd=there, seeds=2)
    with pytest.raises(ReportError, match="đè lên"):
        run(path, Path(), "quick")
    assert path.read_bytes() == before, "the notebook itself was changed"
    assert sorted(build.iterdir()) == sorted(written)
    assert shown[-2:] == ["Ô 2/2: bắt đầu", "Ô 2/2: epoch 3"]
    outputs = nbformat.read(written[0], as_version=4).cells[1].outputs
    assert outputs[-1].text.strip() == f"quick 2 {there}"
    assert "quick" in PdfReader(written[1]).pages[0].extract_text()


def test_run_stops_at_a_failing_cell(capsys):
    assert parser().parse_args(["run"]).profile == "full"
    path = saved(notebook(code("print('xong')"), code("1 / 0"), code("2"), run=False))
    assert main(["run", "--nb", str(path), "--output-dir", "build"]) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "Ô 2/3" in last and "ZeroDivisionError: division by zero" in last
    (left,) = Path("build").iterdir()
    assert left.name == "MSSV_BaiThucHanh2-dang-do.ipynb"
    cells = nbformat.read(left, as_version=4).cells
    assert cells[0].outputs[0].text == "xong\n" and cells[2].execution_count is None


@pytest.mark.parametrize(("name", "language", "ends"), [("tf-gpu", "python", 0), ("ir", "R", 1), (None, "R", 1)])
def test_a_kernel_that_is_not_there(capsys, name, language, ends):
    nb = notebook(code("print('xong')"), run=False)
    kernel = {"kernelspec": {"name": name, "display_name": "x"}} if name else {}
    nb.metadata = {"language_info": {"name": language}, **kernel}
    assert main(["run", "--nb", str(saved(nb)), "--output-dir", "build"]) == ends
    assert (f"không có kernel “{name or 'R'}”" in capsys.readouterr().err) == bool(ends)


def test_a_cell_of_nbval_whose_kernel_was_killed_ends_and_says_so(tmp_path):
    saved(notebook(code("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"), code("1")))
    command = ["-m", "pytest", "-p", "kernel_watch", "-p", "no:cacheprovider", "--nbval-lax", "--rootdir"]
    line = [sys.executable, *command, tmp_path, tmp_path]
    done = subprocess.run(line, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=120, check=False)
    assert "Kernel đã chết khi chạy ô này" in done.stdout and "2 failed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(("terminal", "said"), [(False, "một\n"), (True, "\r\x1b[Kmột\r\x1b[Khai ba\r\x1b[K")])
def test_progress_is_one_line_of_a_terminal_and_a_line_an_interval_of_a_log(terminal, said):
    out = io.StringIO()
    out.isatty = lambda: terminal
    line = ProgressLine(out, interval=1000)
    for text in ("một", "một", "hai\nba"):
        line.show(text)
    line.close()
    assert out.getvalue() == said
