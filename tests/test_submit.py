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
from report.__main__ import main
from report.exporter import notebook_hash
from report.freshness import ReportError, find_record
from report.run import ProgressLine, run
from report.submit import personalize, submit

STUDENT = {"mssv": "21520000", "ho_ten": "Nguyễn Văn A", "lop": "DS201.O11"}


@pytest.fixture
def saved(tmp_path):
    """Return a function that saves a course notebook and returns its path."""

    def save(**limits) -> Path:
        rows = "| Lần | Đúng |\n|:--|--:|\n| a | 97,25 |\n"
        nb = course_notebook(markdown("## Bài 1"), code("x = 1", table(1, "Số đo.", rows)), **limits)
        nbformat.write(nb, tmp_path / "MSSV_BaiThucHanh2.ipynb")
        return tmp_path / "MSSV_BaiThucHanh2.ipynb"

    return save


def settings(nb) -> dict:
    """Return the constants of the settings cell, as Python reads them."""
    tree = ast.parse(nb.cells[1].source)
    return {node.targets[0].id: ast.literal_eval(node.value) for node in tree.body}


def test_submit_writes_the_pair(saved, tmp_path):
    path = saved()
    before = path.read_bytes()
    written = submit(path, **STUDENT, dist=tmp_path / "dist")
    names = ["21520000_BaiThucHanh2.ipynb", "21520000_BaiThucHanh2.pdf"]
    assert [p.name for p in written] == names
    assert sorted(p.name for p in (tmp_path / "dist").iterdir()) == names
    assert path.read_bytes() == before, "the notebook itself was changed"

    nb, pdf = nbformat.read(written[0], as_version=4), PdfReader(written[1])
    assert settings(nb) == {
        "SEED": 0, "MSSV": "21520000", "HO_TEN": "Nguyễn Văn A", "LOP": "DS201.O11"
    }  # fmt: skip
    assert "# mã số sinh viên" in nb.cells[1].source, "the comment after a value was lost"
    assert find_record(nb)["settings"] == {**STUDENT, "seed": 0}
    first = " ".join(pdf.pages[0].extract_text().split())
    assert "MSSV: 21520000 · Họ tên: Nguyễn Văn A · Lớp: DS201.O11" in first
    assert notebook_hash(nb) in pdf.metadata["/Keywords"], "the PDF is not of this notebook"
    assert "97,25" in first


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


@pytest.mark.parametrize("mssv", ["", "../21520000", "a/b", "a\\b", "21 52", "MSSV.", "2152\n", "Đ1", "٣"])
def test_no_mssv_escapes_dist(saved, tmp_path, mssv):
    with pytest.raises(ReportError, match="MSSV"):
        submit(saved(), **{**STUDENT, "mssv": mssv}, dist=tmp_path / "dist")
    assert not (tmp_path / "dist").exists()


@pytest.mark.parametrize(("ho_ten", "lop"), [("", "A"), (" ", "A"), ("A\nB", "A"), ("A", "\x00")])
def test_names_must_be_names(saved, ho_ten, lop):
    with pytest.raises(ReportError, match=r"HO_TEN|LOP"):
        submit(saved(), "1", ho_ten, lop)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [({"profile": "quick"}, "bản chạy nhanh"), ({"stand_in": True}, "dữ liệu thay thế")],
)
def test_what_is_no_result_is_not_handed_in(saved, tmp_path, limits, reason):
    with pytest.raises(ReportError, match=reason):
        submit(saved(**limits), **STUDENT, dist=tmp_path / "dist")
    assert not (tmp_path / "dist").exists()


def test_another_seed_is_not_handed_in_with_the_numbers_of_the_first(saved, tmp_path):
    path = saved()
    nb = nbformat.read(path, as_version=4)
    nb.cells[1].source = nb.cells[1].source.replace("SEED = 0", "SEED = 7")
    nbformat.write(nb, path)
    with pytest.raises(ReportError, match="ô mã thứ 1"):
        submit(path, **STUDENT, dist=tmp_path / "dist")
    assert not (tmp_path / "dist").exists()


def test_the_files_have_the_name_of_the_lab(tmp_path):
    nbformat.write(course_notebook(lab="BaiThucHanh3"), tmp_path / "X_BaiThucHanh3.ipynb")
    written = submit(tmp_path / "X_BaiThucHanh3.ipynb", **STUDENT, dist=tmp_path / "dist")
    assert [p.name for p in written] == ["21520000_BaiThucHanh3.ipynb", "21520000_BaiThucHanh3.pdf"]


def test_what_was_handed_in_can_be_handed_in_again(saved, tmp_path):
    notebook_path, _ = submit(saved(), **STUDENT, dist=tmp_path / "dist")
    assert submit(notebook_path, **{**STUDENT, "mssv": "2"}, dist=tmp_path / "dist")


def test_a_stale_notebook_is_not_handed_in(saved, tmp_path):
    path = saved()
    nb = nbformat.read(path, as_version=4)
    nb.cells[3].source = "x = 2"
    nbformat.write(nb, path)
    with pytest.raises(ReportError, match="ô mã thứ 2"):
        submit(path, **STUDENT, dist=tmp_path / "dist")
    nbformat.write(notebook(code("x")), path)
    with pytest.raises(ReportError, match="chưa có bản ghi"):
        submit(path, **STUDENT, dist=tmp_path / "dist")


def test_nothing_half_done_is_left(saved, tmp_path, monkeypatch):
    dist = tmp_path / "dist"
    submit(saved(), **STUDENT, dist=dist)
    before = {path.name: path.read_bytes() for path in dist.iterdir()}
    write_bytes = Path.write_bytes

    def full_disk(path, data):
        if ".pdf" in path.name:
            raise OSError(28, "No space left on device")
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(ReportError, match="Không ghi được"):
        files.write_together({dist / name: b"new" for name in before})
    assert {path.name: path.read_bytes() for path in dist.iterdir()} == before


def test_submit_from_the_command_line(saved, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ["submit", "--ho-ten", "Nguyễn Văn A", "--lop", "DS201.O11", "--nb", str(saved())]
    assert main([*arguments, "--mssv", "../x"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert main([*arguments, "--mssv", "21520000"]) == 0
    assert (tmp_path / "dist" / "21520000_BaiThucHanh2.pdf").is_file()


# ---------------------------------------------------------------- running without a browser

PROGRESS = """\
import os
from IPython.display import display
says = {"bth2": {"kind": "progress"}}
handle = display({"text/plain": "bắt đầu"}, raw=True, display_id=True, metadata=says)
handle.update({"text/plain": "epoch 3"}, raw=True, metadata=says)
print(os.environ["BTH2_PROFILE"], os.environ["BTH2_SEEDS"], os.getcwd())"""


def test_run_writes_a_copy_and_its_pdf(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(ProgressLine, "show", lambda self, text: shown.append(text))
    path, there = tmp_path / "a.ipynb", tmp_path / "nơi làm việc"
    there.mkdir()
    nbformat.write(notebook(markdown("# T"), code(PROGRESS), run=False), path)
    before = path.read_bytes()
    written = run(path, tmp_path / "build", "quick", cwd=there, seeds=2)
    assert path.read_bytes() == before, "the notebook itself was changed"
    assert sorted((tmp_path / "build").iterdir()) == sorted(written)
    assert shown[-2:] == ["Ô 2/2: bắt đầu", "Ô 2/2: epoch 3"]
    outputs = nbformat.read(written[0], as_version=4).cells[1].outputs
    assert outputs[-1].text.strip() == f"quick 2 {there}"
    assert "quick" in PdfReader(written[1]).pages[0].extract_text()


def test_run_stops_at_a_failing_cell(tmp_path, capsys):
    path, build = tmp_path / "a.ipynb", tmp_path / "build"
    nbformat.write(notebook(code("print('xong')"), code("1 / 0"), code("2"), run=False), path)
    assert main(["run", "--nb", str(path), "--output-dir", str(build)]) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "Ô 2/3" in last and "ZeroDivisionError: division by zero" in last
    assert [p.name for p in build.iterdir()] == ["a-dang-do.ipynb"]
    nb = nbformat.read(build / "a-dang-do.ipynb", as_version=4)
    assert nb.cells[0].outputs[0].text == "xong\n" and nb.cells[2].execution_count is None


@pytest.mark.parametrize(("name", "language", "ends"), [("tf-gpu", "python", 0), ("ir", "R", 1), (None, "R", 1)])
def test_a_kernel_that_is_not_there(tmp_path, capsys, name, language, ends):
    nb = notebook(code("print('xong')"), run=False)
    kernel = {"kernelspec": {"name": name, "display_name": "x"}} if name else {}
    nb.metadata = {"language_info": {"name": language}, **kernel}
    nbformat.write(nb, tmp_path / "a.ipynb")
    assert main(["run", "--nb", str(tmp_path / "a.ipynb"), "--output-dir", str(tmp_path / "build")]) == ends
    last = ["", *capsys.readouterr().err.strip().splitlines()][-1]
    assert not ends or f"không có kernel “{name or 'R'}”" in last


def test_a_cell_of_nbval_whose_kernel_was_killed_ends_and_says_so(tmp_path):
    kill = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    nbformat.write(notebook(code(kill), code("1")), tmp_path / "a.ipynb")
    command = [
        "-m",
        "pytest",
        "-p",
        "kernel_watch",
        "-p",
        "no:cacheprovider",
        "--nbval-lax",
        "--rootdir",
        tmp_path,
        tmp_path,
    ]
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Kernel đã chết khi chạy ô này" in done.stdout and "2 failed" in done.stdout, done.stdout + done.stderr


def test_run_never_writes_over_its_notebook(tmp_path):
    path = tmp_path / "a.ipynb"
    nbformat.write(notebook(code("x")), path)
    with pytest.raises(ReportError, match="đè lên"):
        run(path, tmp_path, "quick")


def test_progress_line():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    plain, terminal = io.StringIO(), Terminal()
    for out in (plain, terminal):
        line = ProgressLine(out, interval=1000)
        for text in ("một", "một", "hai\nba"):
            line.show(text)
        line.close()
    assert plain.getvalue() == "một\n", "a log gets one line an interval"
    assert terminal.getvalue() == "\r\x1b[Kmột\r\x1b[Khai ba\r\x1b[K"
