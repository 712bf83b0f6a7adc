"""A worker whose disk is full, fails, or is read-only loses nothing, and goes on by itself."""

from __future__ import annotations

import resource
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from kumofire_fsm import NewRun, RunMachine
from kumofire_fsm.errors import DatabaseFull

LEDGER = "CREATE TABLE ledger (run TEXT NOT NULL, pid INTEGER NOT NULL) STRICT"
PLAN = {"seconds": 0.3, "failures": 0}


def check(site, created: list[str], replay) -> None:
    """Every run succeeded, and has its effect once."""
    rows = site.rows()
    assert sorted(row["id"] for row in rows) == sorted(created)
    for row in rows:
        replay(row)
        assert row["state"] == RunMachine.succeeded.id, row["error"]
    assert Counter(row["run"] for row in site.query("SELECT run FROM ledger")) == Counter(created)
    assert site.query("PRAGMA integrity_check")[0][0] == "ok"


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of another process are Linux's own")
def test_a_worker_whose_writes_fail_loses_nothing_and_goes_on_by_itself(site, replay):
    """The process may write no file beyond 4 KB, so that SQLite meets an I/O error at every commit."""
    site.query(LEDGER)
    worker = site.worker(lease=0.6)
    with site.jobs() as jobs:
        made = jobs.create_many([NewRun("entry", PLAN, max_attempts=9) for _ in range(10)])
        site.until(lambda: any(row["starts"] for row in site.rows()), "handlers are under way")
        before = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        made += jobs.create_many([NewRun("entry", PLAN, max_attempts=9) for _ in range(10)])
        site.until(lambda: "IOERR" in site.log(worker), "a write has failed")
        assert worker.poll() is None
        assert not site.query("SELECT 1 FROM ledger"), "nothing was settled yet"
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, before)
        site.settled()
    site.leave(worker)
    check(site, [each.kumofire_job_run_id for each in made], replay)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_worker_whose_disk_is_full_loses_nothing_and_goes_on_by_itself(site, small_disk, tmp_path, replay):
    site.db = small_disk / "jobs.db"
    with site.jobs() as jobs:
        site.query(LEDGER)
        worker = site.worker(lease=0.6)
        made = jobs.create_many([NewRun("entry", PLAN, max_attempts=9) for _ in range(10)])
        site.until(lambda: any(row["starts"] for row in site.rows()), "handlers are under way")
        ballast = small_disk / "ballast"
        with ballast.open("wb", buffering=0) as file:
            with pytest.raises(OSError, match="No space"):
                while True:
                    file.write(b"x" * 4096)
            refused = 0
            while refused < 3:  # what still fits into the write-ahead log is stored, the rest refused whole
                try:
                    made += jobs.create_many([NewRun("entry", PLAN, max_attempts=9) for _ in range(10)])
                except DatabaseFull:
                    refused += 1
            site.until(lambda: "is full" in site.log(worker), "the worker has met the full disk")
        assert worker.poll() is None
        ballast.unlink()
        made += jobs.create_many([NewRun("entry", PLAN, max_attempts=9) for _ in range(10)])
        site.settled()
    site.leave(worker)
    check(site, [each.kumofire_job_run_id for each in made], replay)
    site.close()


@pytest.fixture
def frozen(site, small_disk: Path) -> Iterator[Path]:
    """A file on a file system that is read-only until the test writes ``rw`` to it."""
    site.db = small_disk / "jobs.db"
    with site.jobs() as jobs:
        jobs.create("quick")
    remount(small_disk, "ro")
    yield small_disk
    remount(small_disk, "rw")


def remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


def test_a_worker_on_a_read_only_file_says_so_in_one_line_and_another_goes_on_later(site, frozen):
    before = site.db.read_bytes()
    refused = site.worker(cli=True, wait=False)
    assert refused.wait(timeout=600) == 2, site.log(refused)
    said = " ".join(site.log(refused).partition("kumofire: ")[2].split())
    assert said.startswith("the database cannot be")
    assert said.endswith("make its directory writable")
    assert site.db.read_bytes() == before
    remount(frozen, "rw")
    worker = site.worker(cli=True)
    site.settled()
    site.leave(worker)
    assert [row["state"] for row in site.rows()] == [RunMachine.succeeded.id]
    site.close()
