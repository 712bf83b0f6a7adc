"""The kernel tells who waits that a file was written to, where it can."""

from __future__ import annotations

import asyncio
import ctypes
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from kumofire_fsm.adapters._changes import FileChanges, told_of_changes
from kumofire_fsm.adapters.sqlite import SqliteStorage
from kumofire_fsm.ports import Statement

linux = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
A_LONG_TIME = 30.0


def answers(path: Path, ask: Callable[[FileChanges], Awaitable[list[bool]]]) -> list[bool]:
    """What a file's changes tell that begins empty."""
    path.write_text("")

    async def scenario() -> list[bool]:
        changes = told_of_changes([str(path)])
        assert changes is not None
        try:
            return await ask(changes)
        finally:
            changes.close()

    return asyncio.run(scenario())


@linux
@pytest.mark.parametrize(
    "happens",
    [lambda path: path.write_text("more"), Path.unlink, lambda path: path.rename(path.with_name("moved"))],
    ids=["written", "removed", "moved"],
)
def test_who_waits_is_told_what_happens_to_a_file(tmp_path: Path, happens: Callable[[Path], object]) -> None:
    path = tmp_path / "a"

    async def ask(changes: FileChanges) -> list[bool]:
        before = await changes.wait(0.0)
        asyncio.get_running_loop().call_later(0.01, happens, path)
        return [before, await changes.wait(A_LONG_TIME)]

    assert answers(path, ask) == [False, True]


@linux
def test_what_happened_before_the_wait_is_told_at_once_and_once(tmp_path: Path) -> None:
    path = tmp_path / "a"

    async def ask(changes: FileChanges) -> list[bool]:
        path.write_text("more")
        path.write_text("and more")
        return [await changes.wait(A_LONG_TIME), await changes.wait(0.0)]

    assert answers(path, ask) == [True, False]


@linux
def test_a_database_tells_of_the_commits_of_another_connection(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    write = Statement("write", "CREATE TABLE t (a)")

    async def scenario() -> list[bool]:
        one, two = SqliteStorage(path), SqliteStorage(path)
        await one.execute(Statement("read", "SELECT 1", reads=True))
        with one.told_of_writes() as written:
            assert written is not None
            before = await written(0.0)
            await two.execute(write)
            told = await written(A_LONG_TIME)
        await one.close()
        await two.close()
        return [before, told]

    assert asyncio.run(scenario()) == [False, True]


def test_a_database_in_memory_is_written_by_nobody_else() -> None:
    with SqliteStorage(":memory:").told_of_writes() as written:
        assert written is None


class _Without:
    """A C library that has no inotify, or has no more of it to give."""

    def __init__(self, **given: object) -> None:
        self.__dict__.update(given)


@pytest.mark.parametrize("library", [_Without(), _Without(inotify_init1=lambda flags: -1)])
def test_where_the_kernel_cannot_tell_there_is_nothing_to_wait_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: object
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    assert told_of_changes([str(tmp_path)]) is None


@linux
def test_a_file_that_is_not_there_leaves_nothing_open(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert told_of_changes([str(tmp_path / "gone")]) is None
    assert len(list(Path("/proc/self/fd").iterdir())) == before
