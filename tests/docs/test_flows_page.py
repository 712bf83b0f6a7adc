"""The page on flows: its files run as they stand, its commands print what it says, its plan is the real one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pages import files, page, played, sessions
from scripts import run_pytest, run_python

PAGE = page("flows.md")
FILES = files(PAGE)
KUMOFIRE = ("-m", "kumofire_fsm.cli")


def test_these_are_the_files_of_the_page() -> None:
    assert list(FILES) == ["trial.py", "test_trial.py", "test_edges.py", "later.py", "mended.py"]


def test_the_page_s_commands_print_what_it_says_in_their_order(tmp_path: Path) -> None:
    assert len(sessions(PAGE)) == 7
    assert played(PAGE, tmp_path) == sessions(PAGE)
    assert "<svg" in (tmp_path / "trial.svg").read_text()


def test_the_plan_of_the_page_is_refused_in_these_words(tmp_path: Path) -> None:
    for name, source in FILES.items():
        (tmp_path / name).write_text(source)
    assert run_python(tmp_path, "trial.py").returncode == 0
    assert run_python(tmp_path, *KUMOFIRE, "migrate", "later:app", "--db", "trials.db").returncode == 0
    plan = ["machine", "migrate", "later:app", "--plan", "--db", "trials.db"]
    done = run_python(tmp_path, *KUMOFIRE, *plan)
    (told,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    assert (done.returncode, done.stdout, done.stderr) == (1, told, "")


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("test_")])
def test_each_test_on_the_page_passes(tmp_path: Path, name: str) -> None:
    for file, source in FILES.items():
        (tmp_path / file).write_text(source)
    done = run_pytest(tmp_path, name)
    assert done.returncode == 0, done.stdout + done.stderr
