"""A new database file, its log and its copies are their owner's alone; a file that exists keeps its rights."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from commands import Done, kumofire
from users import as_ordinary_user

from kumofire_fsm import Kumofire
from kumofire_fsm.adapters import _file
from kumofire_fsm.adapters.sqlite import SqliteStorage
from kumofire_fsm.ports import Statement

pytestmark = pytest.mark.skipif(os.name != "posix", reason="other systems have other rights")


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    former = os.umask(request.param)
    yield
    os.umask(former)


def rights(folder: Path) -> dict[str, str]:
    """Return the rights of every file of a folder, by name."""
    return {each.name: oct(each.stat().st_mode & 0o777) for each in folder.iterdir() if not each.is_symlink()}


def make_app() -> Kumofire:
    app = Kumofire()

    @app.job("job")
    async def job(ctx: Any) -> None: ...

    return app


def all_of(mode: str, *names: str) -> dict[str, str]:
    return dict.fromkeys(names, mode)


OPEN = ("jobs.db", "jobs.db-wal", "jobs.db-shm")


@pytest.mark.usefixtures("_umask")
def test_a_new_file_its_log_and_its_backup_are_their_owners_alone(tmp_path: Path) -> None:
    with make_app().open_sync(tmp_path / "jobs.db") as jobs:
        jobs.create("job")
        assert rights(tmp_path) == all_of("0o600", *OPEN)
        jobs.backup(tmp_path / "copy.db")
        assert rights(tmp_path) == all_of("0o600", "copy.db", *OPEN)
    assert rights(tmp_path) == all_of("0o600", "copy.db", "jobs.db")


@pytest.mark.usefixtures("_umask")
@pytest.mark.parametrize("mode", [0o660, 0o644, 0o600])
def test_a_file_that_exists_keeps_its_rights_and_gives_them_to_its_log(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "jobs.db"
    path.touch()
    path.chmod(mode)
    with make_app().open_sync(path) as jobs:
        jobs.create("job")
        assert rights(tmp_path) == all_of(oct(mode), *OPEN)
        jobs.backup(tmp_path / "copy.db")
    assert rights(tmp_path) == {"copy.db": "0o600", "jobs.db": oct(mode)}


def test_the_commands_make_private_files(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from kumofire_fsm import Kumofire\napp = Kumofire()\n")
    folder = tmp_path / "files"
    folder.mkdir()
    assert kumofire(tmp_path, "migrate", "mine:app", "--db", folder / "jobs.db").code == 0
    assert kumofire(tmp_path, "backup", folder / "jobs.db", folder / "copy.db").code == 0
    assert set(rights(folder).values()) == {"0o600"}
    assert rights(folder).keys() >= {"copy.db", "jobs.db"}


def test_another_user_is_told_that_the_file_is_its_owners_alone(folder: Path) -> None:
    path = folder / "jobs.db"
    for in_use in (True, False):
        with make_app().open_sync(path) as jobs:
            run = jobs.create("job").kumofire_job_run_id
            if in_use:
                shown = show_as_another(folder, run)
        if not in_use:
            shown = show_as_another(folder, run)
        if os.geteuid() == 0:
            assert (shown.code, shown.out, shown.err.count("\n")) == (2, "", 1)
            assert "this user may not read it" in shown.err


def show_as_another(folder: Path, run: str) -> Done:
    with as_ordinary_user():
        return kumofire(folder, "runs", "show", run, "--db", folder / "jobs.db")


def test_a_file_behind_a_link_that_leads_nowhere_yet_is_private_too(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    (tmp_path / "jobs.db").symlink_to(there / "real.db")
    with make_app().open_sync(tmp_path / "jobs.db") as jobs:
        jobs.create("job")
        assert rights(there) == all_of("0o600", "real.db", "real.db-wal", "real.db-shm")


async def test_where_a_file_cannot_be_made_without_opening_it_it_is_private_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(_file.os, "mknod", refuse)
    storage = SqliteStorage(tmp_path / "jobs.db")
    try:
        await storage.execute(Statement("make", "CREATE TABLE a (b)"))
        assert rights(tmp_path) == all_of("0o600", *OPEN)
    finally:
        await storage.close()


def test_making_a_file_private_opens_no_file_that_exists(tmp_path: Path) -> None:
    """A close would drop the locks that this process has on it."""
    path = tmp_path / "jobs.db"
    _file.make_private(str(path))
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("CREATE TABLE a (b)")
        db.execute("BEGIN EXCLUSIVE")
        _file.make_private(str(path))
        tried = [sys.executable, "-c", _TRY, str(path)]
        assert subprocess.run(tried, capture_output=True, text=True).stdout == "database is locked\n"


_TRY = """
import sqlite3, sys
try:
    sqlite3.connect(sys.argv[1], timeout=0).execute('SELECT * FROM a')
except sqlite3.OperationalError as exc:
    print(exc)
"""
