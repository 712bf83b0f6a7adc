"""A backup is a whole database of one moment, made while others work; reading needs no right to write."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from commands import kumofire
from users import as_ordinary_user

from kumofire_fsm import InvalidArgument, Kumofire, NewRun
from kumofire_fsm.adapters import _backup
from kumofire_fsm.errors import StoreError


def make_app() -> Kumofire:
    app = Kumofire()

    @app.job("job")
    async def job(ctx: Any) -> None: ...

    return app


def counted(path: Path) -> dict[str, int]:
    with make_app().open_sync(path) as jobs:
        return jobs.count_runs()


def test_a_backup_made_while_a_worker_works_is_whole_and_is_restored_as_a_file(tmp_path: Path) -> None:
    path, copies = tmp_path / "jobs.db", [tmp_path / f"{number}.db" for number in range(3)]

    async def scenario() -> None:
        async with make_app().open(path) as jobs:
            await jobs.create_many([NewRun("job")] * 2000)
            worker = asyncio.ensure_future(jobs.run())
            for copy in copies:
                await asyncio.gather(jobs.backup(copy), *(jobs.create("job") for _ in range(100)))
            jobs.stop(at_once=True)
            await worker

    asyncio.run(scenario())
    assert sorted(each.name for each in tmp_path.iterdir()) == ["0.db", "1.db", "2.db", "jobs.db"]
    for copy in copies:
        with closing(sqlite3.connect(copy)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    copies[-1].replace(path)  # nobody has it open: the worker has ended
    with make_app().open_sync(path) as jobs:
        assert sum(jobs.count_runs().values()) >= 2000
        made = jobs.create("job")
        assert jobs.get_status(made.kumofire_job_run_id).state == "queued"


def test_the_command_backs_up_a_file_that_is_in_use(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with make_app().open_sync(path) as jobs:
        jobs.create("job")
        done = kumofire(tmp_path, "backup", str(path), str(tmp_path / "copy.db"))
        assert (done.code, done.err) == (0, "")
        jobs.create("job")
    assert (counted(path), counted(tmp_path / "copy.db")) == ({"queued": 2}, {"queued": 1})


@pytest.mark.parametrize("what", ["a file", "a folder", "a dangling link", "the database itself"])
def test_a_backup_replaces_nothing(tmp_path: Path, what: str) -> None:
    path, to = tmp_path / "jobs.db", tmp_path / "there"
    with make_app().open_sync(path) as jobs:
        jobs.create("job")
        if what == "a file":
            to.write_text("precious")
        elif what == "a folder":
            to.mkdir()
        elif what == "a dangling link":
            to.symlink_to(tmp_path / "nowhere")
        else:
            to = path
        with pytest.raises(InvalidArgument, match="replaces nothing"):
            jobs.backup(to)
    assert counted(path) == {"queued": 1}
    assert what != "a file" or to.read_text() == "precious"


@pytest.mark.parametrize("to", ["", "file:x", ":memory:", 7, None, "a\0b"], ids=ascii)
def test_a_backup_to_no_path_is_refused(tmp_path: Path, to: Any) -> None:
    with make_app().open_sync(tmp_path / "jobs.db") as jobs, pytest.raises(InvalidArgument):
        jobs.backup(to)


def test_a_backup_of_a_database_in_memory_is_refused(tmp_path: Path) -> None:
    with make_app().open_sync(":memory:") as jobs, pytest.raises(InvalidArgument, match="memory"):
        jobs.backup(tmp_path / "copy.db")


def test_a_backup_that_cannot_be_written_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    with make_app().open_sync(tmp_path / "jobs.db") as jobs, pytest.raises(StoreError, match="nowhere"):
        jobs.backup(tmp_path / "nowhere" / "copy.db")


def test_of_two_backups_to_one_name_one_is_whole_and_the_other_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, to, rename = tmp_path / "jobs.db", tmp_path / "copy.db", _backup._rename

    def overtaken(unfinished: str, target: str) -> None:
        monkeypatch.setattr(_backup, "_rename", rename)
        jobs.create("job")
        _backup.copy_database(str(path), to)
        rename(unfinished, target)

    with make_app().open_sync(path) as jobs:
        jobs.create("job")
        monkeypatch.setattr(_backup, "_rename", overtaken)
        with pytest.raises(InvalidArgument, match="was made meanwhile"):
            _backup.copy_database(str(path), to)
    assert counted(to) == {"queued": 2}, "the second's, which was ready first"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["copy.db", "jobs.db"]


def test_a_file_system_without_links_replaces_nothing_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, to = tmp_path / "jobs.db", tmp_path / "copy.db"

    def link(_source: str, target: str) -> None:
        if taken:
            Path(target).write_text("precious")
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", link)
    with make_app().open_sync(path) as jobs:
        jobs.create("job")
        taken = True
        with pytest.raises(InvalidArgument, match="was made meanwhile"):
            jobs.backup(to)
        assert to.read_text() == "precious"
        to.unlink()
        taken = False
        jobs.backup(to)
    assert counted(to) == {"queued": 1}


def test_a_backup_leaves_whatever_else_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "a.db.unfinished").write_text("precious")
    (tmp_path / "b.db.unfinished").mkdir()
    with make_app().open_sync(tmp_path / "jobs.db") as jobs:
        jobs.backup(tmp_path / "a.db")
        jobs.backup(tmp_path / "b.db")
    assert (tmp_path / "a.db.unfinished").read_text() == "precious"
    assert (tmp_path / "b.db.unfinished").is_dir()


@pytest.mark.parametrize("to", ["jobs.db/copy.db", "loop/copy.db", "d/" * 3000 + "copy.db", "n" * 300])
def test_a_path_at_which_no_file_can_be_is_a_typed_error(tmp_path: Path, to: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with make_app().open_sync(tmp_path / "jobs.db") as jobs, pytest.raises(StoreError, match="cannot be wr"):
        jobs.backup(tmp_path / to)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["jobs.db", "loop"]


def test_a_name_as_long_as_the_file_system_takes_is_a_backups(tmp_path: Path) -> None:
    with make_app().open_sync(tmp_path / "jobs.db") as jobs:
        jobs.backup(tmp_path / ("b" * 250))
    assert (tmp_path / ("b" * 250)).is_file()


def test_the_command_on_no_database_is_one_line(tmp_path: Path) -> None:
    done = kumofire(tmp_path, "backup", str(tmp_path / "none.db"), str(tmp_path / "copy.db"))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "there is no database" in done.err
    assert list(tmp_path.iterdir()) == []


# -- reading without the right to write -------------------------------------------------------------


@pytest.mark.parametrize("in_use", [False, True], ids=["closed", "in use"])
def test_commands_that_read_need_no_right_to_write(folder: Path, in_use: bool) -> None:
    path = readable_by_all(folder)
    with make_app().open_sync(path) as jobs:
        run = jobs.create("job").kumofire_job_run_id
        if in_use:
            shown = read_as_another(folder, run)
    if not in_use:
        shown = read_as_another(folder, run)
    assert (shown.code, shown.err) == (0, "")
    assert run in shown.out


def readable_by_all(folder: Path) -> Path:
    path = folder / "jobs.db"
    path.touch()
    path.chmod(0o644)
    return path


def read_as_another(folder: Path, run: str) -> Any:
    folder.chmod(0o555)
    try:
        with as_ordinary_user():
            return kumofire(folder, "runs", "show", run, "--db", str(folder / "jobs.db"))
    finally:
        folder.chmod(0o755)


def test_who_may_not_read_beside_a_user_is_told_what_to_do(folder: Path) -> None:
    path = readable_by_all(folder)
    with make_app().open_sync(path) as jobs:
        run = jobs.create("job").kumofire_job_run_id
        for name in ("jobs.db-shm", "jobs.db-wal"):
            (folder / name).chmod(0o600)
        shown = read_as_another(folder, run)
    if os.geteuid() == 0:
        assert shown.code == 2
        assert "written" not in shown.err
        assert "read" in shown.err
