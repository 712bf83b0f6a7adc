"""Starts the server that a peer needs, where its program is found, on a socket of its own; durable."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agents import Refused

__all__ = ["server"]

START_SECONDS = 20.0
OTHER_USER = "nobody"
"""Who runs PostgreSQL where this is run by root, which it refuses."""


@contextmanager
def server(kind: str | None, folder: Path) -> Iterator[dict[str, str]]:
    """Give the environment variable that tells a peer where its server is.

    Raises:
        Refused: the server's program is not found, or does not start.
    """
    if kind is None:
        yield {}
        return
    command, ready, variables = (_postgres if kind == "postgres" else _redis)(folder)
    log = (folder / "server.log").open("wb")
    process = subprocess.Popen(command, stdout=log, stderr=log, **_user())
    try:
        deadline = time.monotonic() + START_SECONDS
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise Refused(f"{kind} does not start: {(folder / 'server.log').read_text()[-200:]}")
            time.sleep(0.05)
        time.sleep(0.3)
        yield variables
    finally:
        process.terminate()
        process.wait()
        log.close()


def _user() -> dict[str, str]:
    return {"user": OTHER_USER} if os.geteuid() == 0 else {}


def _program(name: str) -> str:
    found = shutil.which(name) or next(
        (str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), None
    )
    if found is None:
        raise Refused(f"{name} is not found on this machine")
    return found


def _postgres(folder: Path) -> tuple[list[str], Path, dict[str, str]]:
    initdb, postgres = _program("initdb"), _program("postgres")
    folder.chmod(0o777)
    data = folder / "data"
    done = subprocess.run(
        [initdb, "-D", str(data), "-U", "postgres", "-A", "trust"],
        check=False,
        capture_output=True,
        text=True,
        **_user(),
    )
    if done.returncode:
        raise Refused(f"initdb: {done.stderr[-200:]}")
    command = [postgres, "-D", str(data), "-k", str(folder), "-c", "listen_addresses="]
    url = f"postgresql:///postgres?host={folder}&user=postgres"
    return command, folder / ".s.PGSQL.5432", {"BENCH_POSTGRES": url}


def _redis(folder: Path) -> tuple[list[str], Path, dict[str, str]]:
    redis = _program("redis-server")
    folder.chmod(0o777)
    socket = folder / "redis.sock"
    command = [
        redis,
        "--port",
        "0",
        "--unixsocket",
        str(socket),
        "--unixsocketperm",
        "777",
        "--dir",
        str(folder),
    ]
    return (
        [*command, "--appendonly", "yes", "--appendfsync", "always"],
        socket,
        {"BENCH_REDIS": f"unix://{socket}"},
    )
