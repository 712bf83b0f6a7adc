"""The page on jobs: its example runs as it stands, and it tells of every signal."""

import inspect
from pathlib import Path

from pages import files, page, played, sessions
from scripts import run_python

from kumofire_fsm import signals

PAGE = page("jobs.md")


def test_the_example_runs(tmp_path: Path) -> None:
    assert list(files(PAGE)) == ["typed.py", "confirm.py", "mails.py", "test_mails.py"]
    assert sessions(PAGE) == [
        ("python typed.py", "Hello, Ada!\nHello, Ada!\n"),
        ("python confirm.py", "[('a kite', 1)]\nthank you for buying a kite\n"),
    ]
    assert played(PAGE, tmp_path) == sessions(PAGE)
    assert played(PAGE, tmp_path) == sessions(PAGE)  # and once more, on the same file


def test_the_example_s_test_of_a_worker_runs(tmp_path: Path) -> None:
    for name, source in files(PAGE).items():
        (tmp_path / name).write_text(source)
    done = run_python(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mails.py")
    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout


def test_every_signal_is_a_way_in_which_an_attempt_ends() -> None:
    known = {
        name
        for name, each in inspect.getmembers(signals, inspect.isclass)
        if issubclass(each, signals.Signal) and each is not signals.Signal
    }
    assert len(known) == 6
    assert [name for name in sorted(known) if f"| raises `{name}(" not in PAGE] == []
