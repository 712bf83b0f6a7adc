"""A file that is moved, removed or replaced while it is open is noticed, and nothing more is stored."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from patience import SECONDS_MAX

from kumofire_fsm import EmbeddedJobs, Kumofire
from kumofire_fsm.adapters import _file
from kumofire_fsm.errors import FileDamaged, FileReplaced, StoreError


@pytest.fixture(autouse=True)
def looks_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_file, "LOOK_SECONDS", 0.0)


def make_app() -> Kumofire:
    app = Kumofire()

    @app.job("job")
    async def job(ctx: Any) -> None: ...

    return app


def wal(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def index(path: Path) -> Path:
    return path.with_name(path.name + "-shm")


def opened_and_closed_by_another_process(path: Path) -> None:
    program = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('SELECT count(*) FROM kumofire_runs'); db.close()"
    subprocess.run([sys.executable, "-c", program, path], check=True, timeout=SECONDS_MAX)


def removed(path: Path) -> None:
    path.unlink()


def moved(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))


def replaced(path: Path) -> None:
    other = path.with_name("other.db")
    with closing(sqlite3.connect(other)) as db:
        db.execute("CREATE TABLE other (x)")
    other.replace(path)


def restored_beside(path: Path) -> None:
    """As a careless restore does: the old files are removed, and a backup is put in their place."""
    copy = path.with_name("copy.db")
    with closing(sqlite3.connect(path)) as db, closing(sqlite3.connect(copy)) as to:
        db.backup(to)
    for each in (path, wal(path)):
        each.unlink()
    copy.rename(path)


def folder_moved(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))


def log_removed(path: Path) -> None:
    wal(path).unlink()


def index_removed(path: Path) -> None:
    index(path).unlink()


def index_replaced(path: Path) -> None:
    """As by the next process that opens the file after somebody has removed its index."""
    index(path).unlink()
    opened_and_closed_by_another_process(path)
    assert index(path).exists()


def locks_dropped(path: Path) -> None:
    """Close a descriptor of the file in this process, and then be the last to close it in another."""
    shutil.copy(path, path.with_name("copied.db"))
    opened_and_closed_by_another_process(path)


EVENTS: list[Callable[[Path], None]] = [
    removed,
    moved,
    replaced,
    restored_beside,
    folder_moved,
    log_removed,
    index_removed,
    index_replaced,
    locks_dropped,
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "jobs.db"


async def refused(jobs: EmbeddedJobs, path: Path, error: type[StoreError], says: str) -> None:
    """Check that whoever creates, looks, works or makes a backup is told."""
    for call in (
        lambda: jobs.create("job"),
        jobs.count_runs,
        jobs.run,
        lambda: jobs.backup(path.with_name("backup.db")),
    ):
        with pytest.raises(error, match=says):
            await asyncio.wait_for(call(), SECONDS_MAX)


@pytest.mark.parametrize("event", EVENTS)
def test_who_creates_and_who_waits_is_told(path: Path, event: Callable[[Path], None]) -> None:
    async def scenario() -> None:
        async with make_app().open(path) as jobs:
            run = (await jobs.create("job")).kumofire_job_run_id
            event(path)
            await refused(jobs, path, FileReplaced, r"while it was open.*start again")
            with pytest.raises(FileReplaced, match=r"while it was open.*start again"):
                await asyncio.wait_for(jobs.wait(run), SECONDS_MAX)

    asyncio.run(scenario())


@pytest.mark.parametrize("event", EVENTS)
def test_a_worker_ends_with_an_error(path: Path, event: Callable[[Path], None]) -> None:
    async def scenario() -> None:
        async with make_app().open(path) as jobs:
            worker = asyncio.ensure_future(jobs.run())
            await jobs.wait((await jobs.create("job")).kumofire_job_run_id, timeout=SECONDS_MAX)
            event(path)
            with pytest.raises(FileReplaced):
                await asyncio.wait_for(worker, SECONDS_MAX)

    asyncio.run(scenario())


def test_what_comes_back_is_not_trusted_again(path: Path) -> None:
    async def scenario() -> None:
        async with make_app().open(path) as jobs:
            await jobs.create("job")
            elsewhere = path.rename(path.with_name("elsewhere.db"))
            with pytest.raises(FileReplaced, match="removed or moved"):
                await jobs.create("job")
            elsewhere.rename(path)
            with pytest.raises(FileReplaced, match="removed or moved"):
                await jobs.create("job")

    asyncio.run(scenario())


@pytest.mark.parametrize("event", [locks_dropped, index_removed])
def test_a_close_writes_nothing_of_a_lost_log_over_what_others_have_stored(
    path: Path, event: Callable[[Path], None]
) -> None:
    """Else the pages of the old log would replace those that another process has committed since."""
    program = (
        "import sys; from kumofire_fsm import Kumofire; app = Kumofire(); app.job('job')(lambda ctx: None)\n"
        "with app.open_sync(sys.argv[1]) as jobs:\n"
        "    for number in range(50): jobs.create('job', tags=['theirs'])"
    )

    async def scenario() -> None:
        async with make_app().open(path) as jobs:
            for _ in range(5):
                await jobs.create("job", tags=["mine"])
            event(path)
            subprocess.run([sys.executable, "-c", program, path], check=True, timeout=SECONDS_MAX)

    asyncio.run(scenario())
    look = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); print(db.execute('PRAGMA integrity_check').fetchall(),"
        """ db.execute("SELECT count(*) FROM kumofire_runs WHERE tags LIKE '%theirs%'").fetchall())"""
    )
    found = subprocess.run(
        [sys.executable, "-c", look, path], capture_output=True, text=True, timeout=SECONDS_MAX
    )
    assert found.stdout == "[('ok',)] [(50,)]\n", found.stderr
    if sys.version_info < (3, 12):  # its connections are still there, with the old log's index in memory
        with pytest.raises(FileReplaced, match="start another process"), make_app().open_sync(path):
            pass


def found_by_another_process(path: Path, sql: str) -> str:
    look = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchall())"
    return subprocess.run(
        [sys.executable, "-c", look, path, sql], capture_output=True, text=True, timeout=SECONDS_MAX
    ).stdout.strip()


def test_a_log_that_is_cut_in_its_place_ends_the_worker_and_every_call(path: Path) -> None:
    """What it had is lost; but what the file had before is spoilt neither by a checkpoint nor by a close."""

    async def scenario() -> None:
        async with make_app().open(path) as jobs:
            for _ in range(3):
                await jobs.create("job", delay=3600)
            with closing(sqlite3.connect(path)) as db:
                db.execute("PRAGMA wal_checkpoint").fetchall()
            worker = asyncio.ensure_future(jobs.run())
            await jobs.wait((await jobs.create("job")).kumofire_job_run_id, timeout=SECONDS_MAX)
            os.truncate(wal(path), 0)
            with pytest.raises(FileDamaged):
                for _ in range(2):  # SQLite writes behind the hole; that is seen with the next call
                    await jobs.create("job", delay=3600)
            with pytest.raises(FileDamaged):
                await asyncio.wait_for(worker, SECONDS_MAX)
            await refused(jobs, path, FileDamaged, r"jobs\.db' is damaged: .*restore the backup")

    asyncio.run(scenario())
    alone = shutil.copy(path, path.with_name("alone.db"))  # without the log
    assert found_by_another_process(alone, "PRAGMA integrity_check") == "[('ok',)]"
    assert found_by_another_process(alone, "SELECT count(*) FROM kumofire_runs") == "[(3,)]"


def test_who_only_creates_hears_of_a_log_that_was_cut(path: Path) -> None:
    """Nothing is read, so that SQLite itself has not noticed it yet."""

    async def scenario() -> None:
        async with make_app().open(path) as jobs:
            for _ in range(2):
                await jobs.create("job")
            os.truncate(wal(path), 0)
            with pytest.raises(FileDamaged, match=r"its write-ahead log .* was cut"):
                for _ in range(2):
                    await jobs.create("job")

    asyncio.run(scenario())


def test_a_log_that_holds_nothing_sound_when_the_file_is_opened_is_no_alarm(path: Path) -> None:
    """As after a power cut: SQLite begins a log over it with the first commit."""

    async def scenario() -> None:
        async with make_app().open(path) as jobs:
            for _ in range(3):
                await jobs.create("job")

    asyncio.run(scenario())
    wal(path).write_bytes(bytes(8192))
    asyncio.run(scenario())
    assert found_by_another_process(path, "SELECT count(*) FROM kumofire_runs") == "[(6,)]"


def test_a_link_is_followed_to_its_file_and_its_log(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "jobs.db"
    link.symlink_to(tmp_path / "real" / "jobs.db")

    async def scenario() -> None:
        async with make_app().open(link) as jobs:
            await jobs.create("job")
            assert await jobs.count_runs() == {"queued": 1}
            link.unlink()
            link.symlink_to(tmp_path / "other.db")
            with pytest.raises(FileReplaced):
                await jobs.create("job")

    asyncio.run(scenario())


def test_what_changes_in_the_file_itself_is_nobodys_alarm(path: Path) -> None:
    """Checkpoints, VACUUM, other connections that come and go, and permissions."""

    async def scenario() -> None:
        async with make_app().open(path) as jobs, make_app().open(path) as more:
            for act in (
                lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall(),
                lambda db: db.execute("VACUUM"),
            ):
                await jobs.create("job")
                with closing(sqlite3.connect(path, isolation_level=None)) as db:
                    act(db)
                await more.create("job")
            opened_and_closed_by_another_process(path)
            os.utime(path)
            path.chmod(0o600)
            assert await jobs.count_runs() == {"queued": 4}

    asyncio.run(scenario())


def warnings(log: pytest.LogCaptureFixture) -> list[str]:
    """What was warned of since the last look."""
    found = [each.getMessage() for each in log.records if each.levelno >= logging.WARNING]
    log.clear()
    return found


def names_told(path: Path, names: int) -> str:
    return (
        f"the database {str(path)!r} has {names} names (hard links): who opens it by another name keeps another "
        "log of it, and runs that were stored are lost; give it one name alone (docs/files.md)"
    )


def test_each_name_more_is_warned_of_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is no error: tools for snapshots make hard links, and nobody opens those."""
    second, third = path.with_name("second.db"), path.with_name("third.db")

    async def scenario() -> None:
        async with make_app().open(path) as jobs:
            await jobs.create("job")
            assert warnings(caplog) == []
            second.hardlink_to(path)
            for _ in range(3):
                await jobs.create("job")
            assert warnings(caplog) == [names_told(path, 2)]
            third.hardlink_to(path)
            assert await jobs.count_runs() == {"queued": 4}
            assert warnings(caplog) == [names_told(path, 3)]
            third.unlink()
            await jobs.create("job")
            assert warnings(caplog) == []

    asyncio.run(scenario())


def test_a_file_with_two_names_is_warned_of_when_it_is_opened(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with make_app().open(path) as jobs:
            await jobs.create("job")

    asyncio.run(scenario())
    path.with_name("second.db").hardlink_to(path)
    assert warnings(caplog) == []
    asyncio.run(scenario())
    assert warnings(caplog) == [names_told(path, 2)]


def test_the_write_ahead_log_is_cut_after_a_reader_has_left(path: Path) -> None:
    async def scenario() -> tuple[int, int]:
        async with make_app().open(path, synchronous="OFF") as jobs:
            await jobs.create("job")
            with closing(sqlite3.connect(path, isolation_level=None)) as reader:
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM kumofire_runs").fetchone()
                for _ in range(8):
                    await jobs._storage.call(
                        lambda db: db.execute(
                            "CREATE TABLE IF NOT EXISTS ballast AS SELECT zeroblob(3000000) b"
                        )
                    )
                    await jobs._storage.call(
                        lambda db: db.execute("UPDATE ballast SET b = randomblob(3000000)")
                    )
                grown = wal(path).stat().st_size
            for _ in range(4):
                await jobs.create("job")
            return grown, wal(path).stat().st_size

    grown, left = asyncio.run(scenario())
    assert grown > 20 * 1024**2
    assert left <= 16 * 1024**2
