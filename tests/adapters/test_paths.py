"""A database is named by a path, which is fixed when it is opened, and means one file to every part."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from kumofire_fsm import InvalidArgument, Kumofire
from kumofire_fsm.adapters import sqlite
from kumofire_fsm.adapters.sqlite import SqliteStorage


def make_app() -> Kumofire:
    app = Kumofire()
    app.job("job")(lambda ctx: None)
    return app


@pytest.mark.parametrize("sync", [False, True], ids=["open", "open_sync"])
def test_a_relative_path_stays_the_same_file_when_the_directory_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: bool
) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    monkeypatch.chdir(tmp_path / "first")

    async def scenario() -> dict[str, int]:
        async with make_app().open("jobs.db") as jobs:
            os.chdir(tmp_path / "second")  # before the reader and the watch have opened the file
            await jobs.create("job")
            jobs._storage.data_version()
            return await jobs.count_runs()

    if sync:
        with make_app().open_sync("jobs.db") as jobs:
            os.chdir(tmp_path / "second")
            jobs.create("job")
            counts = jobs.count_runs()
    else:
        counts = asyncio.run(scenario())
    assert counts == {"queued": 1}
    assert list((tmp_path / "second").iterdir()) == []


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("file:jobs.db", "not by a URI"),
        ("file:jobs.db?mode=ro", "not by a URI"),
        ("file:///tmp/jobs.db", "not by a URI"),
        (Path("file:jobs.db"), "not by a URI"),
        ("jobs\0.db", "NUL"),
        (Path("jobs\0.db"), "NUL"),
        ("jobs\ud800.db", "no file can have this path"),
        ("", "needs a file's path"),
    ],
    ids=ascii,
)
def test_what_is_no_path_is_refused_and_makes_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str | Path, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidArgument, match=says), make_app().open_sync(path):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["file:jobs.db", "a?b#c%20d.db", "a 'b' \"c\".db", "jobs\udcff.db"], ids=ascii
)
def test_any_name_works_as_an_absolute_path_for_writers_and_readers(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with make_app().open_sync(path) as jobs:
        jobs.create("job")
        assert jobs.count_runs() == {"queued": 1}
    assert [each.name for each in tmp_path.iterdir()] == [name]

    async def read() -> list[tuple[object, ...]]:
        storage = SqliteStorage(path, read_only=True)
        try:
            return await storage.execute(
                sqlite.Statement("count", "SELECT count(*) FROM kumofire_runs", reads=True)
            )
        finally:
            await storage.close()

    assert asyncio.run(read()) == [(1,)]


def test_a_relative_path_in_a_directory_that_is_gone_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with (
        pytest.raises(InvalidArgument, match="give an absolute path"),
        make_app().open_sync("jobs.db"),
    ):
        pass
