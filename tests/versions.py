"""Both ends of the versions that the README names: the notebook alone in an empty folder, quick profile.

    python tests/versions.py           each set in a virtual environment of its own (some minutes, 2 GB each)
    python tests/versions.py colab     one of them

Not collected by pytest. Give BTH2_DATA_DIR for the real data. Exit code 1: the notebook failed somewhere.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

NOTEBOOK = Path(__file__).resolve().parent.parent / "MSSV_BaiThucHanh2.ipynb"
LIMIT = 1800  # seconds for an installation, and for a run
COMMON = ["psutil", "tqdm", "nbconvert"]
SETS = {
    "oldest": "tensorflow==2.16.2 keras==3.3.3 "
    "numpy==1.26.4 scipy==1.13.1 scikit-learn==1.5.2 matplotlib==3.9.4 ipykernel==6.29.5",
    "colab": "tensorflow==2.19.0 keras==3.10.0 numpy==2.0.2 scipy==1.15.3 scikit-learn==1.6.1 matplotlib==3.10.0 "
    "ipykernel==6.17.1 ipython==7.34.0",
}


def run(pins: list[str], folder: Path) -> None:
    """Install the pins into folder/env and execute a copy of the notebook there; raises CalledProcessError."""
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    settings = os.environ | {"BTH2_PROFILE": "quick", "BTH2_CACHE_DIR": ""}
    shutil.copy(NOTEBOOK, folder)
    install = ["pip", "install", "--quiet", *pins, *COMMON]
    execute = ["nbconvert", "--execute", "--to", "notebook", "--output", "run.ipynb", NOTEBOOK.name]
    for module in (install, execute):
        subprocess.run([python, "-m", *module], cwd=folder, env=settings, check=True, timeout=LIMIT)


if __name__ == "__main__":
    failed = []
    for name in sys.argv[1:] or SETS:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                run(SETS[name].split(), Path(folder))
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                failed.append(name)
                print(error)
        result = "FAILED" if name in failed else "ran"
        print(f"{name}: {result} in {time.monotonic() - began:.0f} s ({SETS[name]})", flush=True)
    sys.exit(bool(failed))
