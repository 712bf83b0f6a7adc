"""The demo, as a newcomer runs it: with a worker killed half-way it ends with every check held."""

import subprocess
import sys
from pathlib import Path

import pytest
from slices import sliced

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo" / "demo.py"


def demo(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(DEMO), "--input", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.parametrize("files", sliced([0, 1, 30], 3))
def test_the_demo_loses_nothing_and_says_so(files: int, tmp_path: Path) -> None:
    for number in range(files):
        (tmp_path / f"{number}.txt").write_text(f"{number}\n" * number)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "file").write_text("left out")
    done = demo(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAIL" not in done.stdout
    assert f"{files} of {files} digests agree" in done.stdout
    assert "nothing is doubled" in done.stdout


def test_a_folder_that_does_not_exist_is_one_line(tmp_path: Path) -> None:
    done = demo(tmp_path / "nowhere")
    assert (done.returncode, done.stdout) == (2, "")
    said = f"demo.py: error: --input {tmp_path / 'nowhere'}: no folder is there"
    assert done.stderr.splitlines()[-1] == said
