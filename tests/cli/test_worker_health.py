"""``kumofire worker --health-port``: live, ready and metrics of a real worker, which is never held up by them."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from commands import kumofire
from patience import until
from scripts import ROOT

from kumofire_fsm import Kumofire
from kumofire_fsm.cli import health
from kumofire_fsm.cli.health import HealthServer
from kumofire_fsm.cli.loading import load_app
from kumofire_fsm.embedded.opening import WorkerReport

SHOP = """
import asyncio
from pathlib import Path

from kumofire_fsm import Fail, Kumofire

app = Kumofire()

@app.job("mail")
def mail(ctx):
    raise Fail("no such mailbox")

@app.job('a "report"')
def report(ctx): ...

@app.job("hold")
async def hold(ctx):
    Path("held").touch()
    while not Path("go").exists():
        await asyncio.sleep(0.01)
"""
LINE = re.compile(
    r'# (TYPE \w+ (gauge|counter)|UNIT \w+ seconds|HELP \w+ [^\n]+)|\w+(\{\w+="([^"\\]|\\.)*"(,\w+="([^"\\]|\\.)*")*\})? [\d.]+'
)


def ask(url: str) -> tuple[int, str, str]:
    """Return status, type and text of an answer."""
    try:
        with urllib.request.urlopen(url, timeout=600) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, exc.headers["Content-Type"], exc.read().decode()


def answered(url: str, status: int) -> str:
    """Ask until the answer has this status; return its text."""
    return until(lambda: [text for found, _, text in [ask(url)] if found == status], lambda: ask(url))[0]


@contextmanager
def worker(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start a worker that serves its health at any free port; yield it and its URL."""
    command = [sys.executable, "-m", "kumofire_fsm.cli", "worker", "health_shop:app", "--db", "jobs.db"]
    options = ["--health-port", "0", "--log-format", "json", "--concurrency", "7", "--grace", "600"]
    process = subprocess.Popen(
        [*command, *options], cwd=folder, stderr=subprocess.PIPE, text=True, env={"PYTHONPATH": str(ROOT)}
    )
    try:
        assert process.stderr is not None
        said = (json.loads(line)["message"] for line in process.stderr)
        yield (
            process,
            next(line.split()[1].rstrip(",").removesuffix("/live") for line in said if "/live" in line),
        )
    finally:
        process.kill()
        process.communicate()


def test_a_worker_tells_that_it_is_live_and_ready_and_what_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "health_shop.py").write_text(SHOP)
    with load_app("health_shop:app").open_sync("jobs.db") as jobs:
        runs = [jobs.create(name) for name in ("mail", 'a "report"', 'a "report"')]
        jobs.create("mail", delay=3600)
        with worker(tmp_path) as (process, url):
            assert answered(f"{url}/ready", 200) == "ready\n"
            assert ask(f"{url}/live") == (200, "text/plain; charset=utf-8", "live\n")
            assert ask(f"{url}/") == (404, "text/plain; charset=utf-8", "there are /live, /ready, /metrics\n")
            held = jobs.create("hold")
            for each in runs:
                jobs.wait(each.kumofire_job_run_id, timeout=600)
            while not Path("held").exists():
                time.sleep(0.01)
            status, kind, text = ask(f"{url}/metrics?x=1")
            assert (status, kind) == (200, "application/openmetrics-text; version=1.0.0; charset=utf-8")
            *lines, last = text.splitlines()
            assert (last, [line for line in lines if not LINE.fullmatch(line)]) == ("# EOF", [])
            assert [line for line in lines if not line.startswith(("#", "kumofire_run_oldest"))] == [
                r'kumofire_run_count{messaging_destination_name="a \"report\"",kumofire_run_state="succeeded"} 2',
                'kumofire_run_count{messaging_destination_name="hold",kumofire_run_state="running"} 1',
                'kumofire_run_count{messaging_destination_name="mail",kumofire_run_state="failed"} 1',
                'kumofire_run_count{messaging_destination_name="mail",kumofire_run_state="ready"} 1',
                'kumofire_worker_slots{kumofire_slot_state="busy"} 1',
                'kumofire_worker_slots{kumofire_slot_state="idle"} 6',
                "kumofire_worker_stuck_handlers 0",
                *sorted(
                    [
                        r'kumofire_run_settled_total{messaging_destination_name="a \"report\"",kumofire_run_outcome="success"} 2',
                        'kumofire_run_settled_total{messaging_destination_name="mail",kumofire_run_outcome="failure"} 1',
                    ],
                    key=lines.index,
                ),
            ]
            process.send_signal(signal.SIGTERM)
            assert answered(f"{url}/ready", 503) == "the worker ends\n"
            Path("go").touch()
            assert process.wait(120) == 0
        assert jobs.get_status(held.kumofire_job_run_id).state == "succeeded"


def served(db: Path, report: WorkerReport | None = None) -> HealthServer:
    return HealthServer(Kumofire(), db, "127.0.0.1", 0, lambda: report)


def test_a_look_that_takes_long_holds_up_neither_the_loop_nor_other_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, ends = threading.Event(), threading.Event()

    def long(db: Path, read: object, *, read_only: bool) -> None:
        began.set()
        assert ends.wait(60)
        raise health.KumofireError("the disk is slow")

    monkeypatch.setattr(health, "using", long)

    async def main() -> None:
        with served(tmp_path / "jobs.db") as server:
            scrape = asyncio.ensure_future(asyncio.to_thread(ask, f"{server.url}/metrics"))
            await asyncio.to_thread(began.wait, 60)
            assert (await asyncio.to_thread(ask, f"{server.url}/live"))[0] == 200
            assert (await asyncio.to_thread(ask, f"{server.url}/ready"))[0] == 503
            assert not scrape.done()
            ends.set()
            assert await scrape == (
                503,
                "text/plain; charset=utf-8",
                "the database cannot be read: the disk is slow\n",
            )

    asyncio.run(main())


def test_looks_that_come_together_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app, looks = Kumofire(), []
    with app.open_sync(tmp_path / "jobs.db"):
        pass
    look = health.using
    monkeypatch.setattr(health, "using", lambda *given, **how: looks.append(1) or look(*given, **how))

    async def main() -> None:
        with served(tmp_path / "jobs.db", WorkerReport(False, 3, 2, 1, {})) as server:
            found = [await asyncio.to_thread(ask, f"{server.url}/metrics") for _ in range(3)]
            assert {each[0] for each in found} == {200}
            assert "kumofire_worker_stuck_handlers 1\n" in found[0][2]

    asyncio.run(main())
    assert looks == [1]


def _has_ipv6() -> bool:
    with suppress(OSError), closing(socket.create_server(("::1", 0), family=socket.AF_INET6)):
        return True
    return False


@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")
def test_it_listens_at_an_address_of_ipv6(tmp_path: Path) -> None:
    async def main() -> None:
        with HealthServer(Kumofire(), tmp_path / "jobs.db", "::1", 0, lambda: None) as server:
            assert server.url.startswith("http://[::1]:")
            assert (await asyncio.to_thread(ask, f"{server.url}/live"))[0] == 200

    asyncio.run(main())


def test_a_loop_that_takes_no_turn_is_not_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "LIVE_SECONDS", 0.01)

    async def main() -> HealthServer:
        with served(tmp_path / "jobs.db") as server:
            # Called on the loop itself, it holds the loop up.
            assert server.answer("/live") == (
                503,
                health.PLAIN,
                "the worker's loop has taken no turn for 0.01 s\n",
            )
        return server

    server = asyncio.run(main())
    assert server.answer("/live") == (503, health.PLAIN, "the worker has ended\n")


def test_a_place_that_cannot_be_had_is_refused_before_the_file_is_made(tmp_path: Path) -> None:
    (tmp_path / "health_shop.py").write_text(SHOP)
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        command = ["worker", "health_shop:app", "--db", "new.db", "--create"]
        said = {
            f"nobody can listen at '127.0.0.1', port {port}: ": ["--health-port", port],
            "nobody can listen at '2001:db8::1', port 0: ": [
                *("--health-port", 0),
                *("--health-host", "2001:db8::1"),
            ],
            "Invalid value for '--health-port'": ["--health-port", 70000],
            "--health-host is empty": ["--health-port", 0, "--health-host", ""],
            r"nobody can listen at '\udcff', port 0: ": ["--health-port", 0, "--health-host", "\udcff"],
        }
        for text, options in said.items():
            done = kumofire(tmp_path, *command, *options)
            assert (done.code, text in done.err) == (2, True), done.err
    assert not (tmp_path / "new.db").exists()
