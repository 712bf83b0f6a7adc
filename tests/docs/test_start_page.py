"""The first page: its files run as they stand, and its commands print what it says."""

from pathlib import Path

from pages import files, page, played, sessions
from scripts import run_python

PAGE = page("start.md")


def test_the_page_s_commands_print_what_it_says_in_their_order(tmp_path: Path) -> None:
    assert list(files(PAGE)) == ["shop.py", "order.py", "work.py", "look.py", "newest.py"]
    assert len(sessions(PAGE)) == 3
    assert played(PAGE, tmp_path) == sessions(PAGE)


def test_the_newest_run_is_the_one_that_is_shown(tmp_path: Path) -> None:
    played(PAGE, tmp_path)
    run_id = run_python(tmp_path, "newest.py").stdout.strip()
    done = run_python(tmp_path, "-m", "kumofire_fsm.cli", "runs", "show", run_id, "--db", "shop.db")
    assert (done.returncode, done.stdout.split()[1]) == (0, run_id)
    assert "invoice of order 7, attempt 2" in done.stdout
