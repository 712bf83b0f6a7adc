"""The page on jobs: its example runs as it stands, and it tells of every signal."""

import inspect
from pathlib import Path

from pages import files, page, played, sessions
from scripts import run_python

from kumofire_fsm import signals

PAGE = page("jobs.md")
WAYS = """
import asyncio
from ship import Order, app

async def main():
    async with app.open("ship.db") as jobs:
        worker = asyncio.create_task(jobs.run())
        refused, unpaid, paid = [
            (await jobs.create("ship", order)).kumofire_job_run_id
            for order in (Order(number=-1), Order(number=6), Order(number=7, paid=True))
        ]
        print((await jobs.wait(refused, timeout=600)).state)
        done = await jobs.wait(paid, timeout=600)
        print((await jobs.get_status(unpaid)).state)
        print(done.state, done.result)
        worker.cancel()

asyncio.run(main())
"""


def test_the_example_runs(tmp_path: Path) -> None:
    assert list(files(PAGE)) == ["typed.py", "ship.py", "stopped.py", "lasting.py", "confirm.py"]
    assert sessions(PAGE) == [
        ("python typed.py", "Hello, Ada!\nHello, Ada!\n"),
        (
            "python stopped.py",
            "removing what is there of orders\ncanceled - canceled while it ran: its handler was stopped\n",
        ),
        ("python lasting.py", "Hello, Ada!\n"),
        ("python confirm.py", "[('a kite', 1)]\nthank you for buying a kite\n"),
    ]
    assert played(PAGE, tmp_path) == sessions(PAGE)
    assert played(PAGE, tmp_path) == sessions(PAGE)  # and once more, on the same file


def test_the_handler_that_ends_in_many_ways_does_so(tmp_path: Path) -> None:
    (tmp_path / "ship.py").write_text(files(PAGE)["ship.py"])
    (tmp_path / "ways.py").write_text(WAYS)
    done = run_python(tmp_path, "ways.py")
    assert (done.returncode, done.stdout) == (0, "failed\nready\nsucceeded order 7 is on its way\n"), (
        done.stderr
    )


def test_every_signal_is_a_way_in_which_an_attempt_ends() -> None:
    known = {
        name
        for name, each in inspect.getmembers(signals, inspect.isclass)
        if issubclass(each, signals.Signal) and each is not signals.Signal
    }
    assert len(known) == 6
    assert [name for name in sorted(known) if f"| raises `{name}(" not in PAGE] == []
