"""Several processes and connections on one file wait for one another, and nobody hears of a lock."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kumofire_fsm.adapters import _group_commit as adapter
from kumofire_fsm.errors import TransientStoreError

WRITER = Path(__file__).with_name("writer.py")


@pytest.mark.parametrize("at_once", [1, 10])
def test_three_processes_write_at_once_and_none_hears_of_a_lock(path, stored, at_once):
    writers = [
        subprocess.Popen(
            [sys.executable, WRITER, path, name, "300", str(at_once)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("a", "b", "c")
    ]
    answers = [writer.communicate(timeout=600) for writer in writers]
    assert [(out.strip(), err) for out, err in answers] == [("300", "")] * 3
    assert stored() == [f"{name}-{i:04}" for name in ("a", "b", "c") for i in range(300)]


def test_the_first_opening_of_a_new_file_is_safe_for_several_processes(tmp_path):
    """Each connection switches the file to WAL, which needs it for itself for a moment."""
    program = (
        "import asyncio, sys\n"
        "from kumofire_fsm import Kumofire\n"
        "app = Kumofire()\n"
        "@app.job('a')\n"
        "async def a(ctx): ...\n"
        "async def main():\n"
        "    for _ in range(10):\n"
        "        async with app.open(sys.argv[1]) as jobs:\n"
        "            await jobs.create('a')\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "new.db")]
    openers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    answers = [opener.communicate(timeout=600)[1] for opener in openers]
    assert answers == [""] * 4


def test_a_lock_that_another_connection_holds_is_waited_for_and_reads_go_on(path, things, other):
    async def scenario() -> tuple[bool, list, list]:
        async with things.opened(path) as storage:
            await storage.execute(things.put("before"))
            other.execute("BEGIN IMMEDIATE")
            writing = asyncio.ensure_future(storage.execute(things.put("mine")))
            await asyncio.sleep(0.4)
            early = writing.done()
            seen = await asyncio.wait_for(storage.execute(things.names()), 60)
            other.execute("COMMIT")
            return early, seen, await asyncio.wait_for(writing, 60)

    assert asyncio.run(scenario()) == (False, [("before",)], [("mine",)])


def test_opening_waits_for_a_lock_too(path, things, other):
    async def scenario() -> list:
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO things (name) VALUES ('theirs')")
        threading.Timer(0.3, other.execute, ["COMMIT"]).start()
        async with things.opened(path) as storage:
            await asyncio.wait_for(storage.execute(things.put("mine")), 10)
            return await storage.execute(things.names())

    assert asyncio.run(scenario()) == [("mine",), ("theirs",)]


def test_a_lock_held_too_long_is_a_transient_error_and_the_same_call_succeeds_later(
    path, things, other, stored, monkeypatch
):
    monkeypatch.setattr(adapter, "BUSY_SECONDS", 0.2)

    async def scenario() -> None:
        async with things.opened(path) as storage:
            await storage.execute(things.put("before"))
            other.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            calls = [storage.execute(things.put("a")), storage.execute(things.put("b"))]
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(answer) for answer in answers] == [TransientStoreError] * 2
            assert "0 s" in str(answers[0])
            assert 0.2 <= time.monotonic() - began < 2
            other.execute("ROLLBACK")
            assert await storage.execute(things.put("a")) == [("a",)]

    asyncio.run(scenario())
    assert stored() == ["a", "before"]


def test_a_process_killed_in_the_middle_of_writing_leaves_a_file_that_others_go_on_with(path, things, stored):
    async def scenario() -> None:
        async with things.opened(path) as storage:
            for name in ("x", "y", "z"):
                writer = subprocess.Popen(
                    [sys.executable, WRITER, path, name, "100000", "5"], stderr=subprocess.DEVNULL
                )
                prefix = f"{name}-"
                for _ in range(1000):
                    if any(row[0].startswith(prefix) for row in await storage.execute(things.names())):
                        break
                    await asyncio.sleep(0.01)
                writer.kill()
                assert writer.wait() == -9
                assert await storage.execute(things.put(f"after-{name}")) == [(f"after-{name}",)]

    asyncio.run(scenario())
    assert {"after-x", "after-y", "after-z"} <= set(stored())
