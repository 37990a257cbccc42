PYTHON  ?= python3
PROFILE ?= full
SEEDS   ?=
NB      ?= MSSV_BaiThucHanh2.ipynb
PY      := .venv/bin/python

help:  ## các lệnh
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

run: .venv/ready  ## chạy cả notebook vào report/build/ (PROFILE=quick: vài phút; SEEDS=1: một seed)
	$(PY) -m report run --profile $(PROFILE) --nb "$(NB)" $(if $(SEEDS),--seeds $(SEEDS))

lab: .venv/ready  ## mở notebook trong JupyterLab
	$(PY) -m jupyterlab "$(NB)"

test: .venv/ready  ## kiểm tra mã, notebook (hồ sơ quick) và báo cáo
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pytest --nbval -n 2

report: .venv/ready  ## notebook đã lưu -> report/<tên>.pdf (ALLOW_STALE=1: dù đã cũ)
	$(PY) -m report build "$(NB)" $(if $(filter-out 0,$(ALLOW_STALE)),--allow-stale)

html: .venv/ready  ## notebook đã lưu -> report/build/<tên>.html, không có mã thiết lập
	$(PY) -m report html "$(NB)"

submit: .venv/ready  ## dist/<MSSV>_BaiThucHanh2.{ipynb,pdf}: make submit MSSV=… HO_TEN="…" LOP=…
	$(PY) -m report submit --mssv "$(MSSV)" --ho-ten "$(HO_TEN)" --lop "$(LOP)" --nb "$(NB)"

bench: .venv/ready  ## đo tốc độ so với mã của đề, chạy xen kẽ A B A B
	$(PY) tests/benchmarks/bench.py

verify: .venv/ready  ## huấn luyện lại tất cả và so với notebook đã lưu
	$(PY) tests/verify.py

clean:  ## xoá bộ nhớ đệm và bản dựng, để chạy lại từ đầu
	rm -rf .bth2_cache report/build dist

.venv/ready: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else "Cần Python 3.11-3.13: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

.PHONY: help run lab test report html submit bench verify clean
