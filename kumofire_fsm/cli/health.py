"""Answers whether a worker is live and ready, and its metrics, over HTTP, in threads of its own.

The worker's loop is asked for one turn to learn whether it is alive; the database is read by a connection and
a loop beside it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Final, Self

from kumofire_fsm.app import Kumofire
from kumofire_fsm.cli.files import using
from kumofire_fsm.cli.metrics import OPEN_METRICS, metrics_text
from kumofire_fsm.embedded.opening import WorkerReport
from kumofire_fsm.errors import InvalidArgument, KumofireError
from kumofire_fsm.reports import Stats

__all__ = ["HealthServer"]

log = logging.getLogger("kumofire_fsm.worker")
LIVE_SECONDS: Final = 5.0
"""A loop that takes no turn for so long is not alive: a handler holds it up."""
LOOK_SECONDS: Final = 5.0
"""A look at the database serves everybody who asks within this time."""
SOCKET_SECONDS: Final = 10.0
"""A client that says nothing for so long is left alone."""
PLAIN: Final = "text/plain; charset=utf-8"

Answer = tuple[int, str, str]
"""Status, type and text."""


class _Server(ThreadingHTTPServer):
    def __init__(self, host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), handler)

    def server_bind(self) -> None:
        """Bind, without asking for the name of the host, for which HTTPServer may wait long."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def handle_error(self, _request: Any, client_address: Any) -> None:
        """Log, where the default prints a traceback: most clients are gone before their answer."""
        log.info("%s got no answer about the health: %r", client_address, sys.exc_info()[1])


class HealthServer:
    """Serves ``/live``, ``/ready`` and ``/metrics`` while it is entered.

    Args:
        app, db: what is looked at.
        host, port: where to listen; port 0 is any that is free.
        report: tells of the worker, or None while it does not run; it is called from other threads.
    """

    def __init__(
        self, app: Kumofire, db: Path, host: str, port: int, report: Callable[[], WorkerReport | None]
    ) -> None:
        self._app, self._db, self._report = app, db, report
        self._loop = asyncio.get_running_loop()
        self._looking = threading.Lock()
        self._looked: tuple[float, Stats] | None = None
        if not host:
            raise InvalidArgument("--health-host is empty; 0.0.0.0 is every address of this machine")
        try:
            self._server = _Server(host, port, self._handler())
        except (OSError, OverflowError, TypeError) as exc:  # a TypeError of a host that cannot be encoded
            mend = "say another --health-port or --health-host"
            raise InvalidArgument(f"nobody can listen at {host!r}, port {port}: {exc}; {mend}") from exc
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self._server.server_port}"

    def __enter__(self) -> Self:
        if hasattr(os, "register_at_fork"):  # else what a handler forks would hold the port after the worker
            os.register_at_fork(after_in_child=self._server.socket.close)
        threading.Thread(target=self._server.serve_forever, name="kumofire-health", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str) -> Answer:
        """Return what a path answers."""
        known = {"/live": self._live, "/ready": self._ready, "/metrics": self._metrics}
        asked = known.get(path.partition("?")[0])
        return (404, PLAIN, f"there are {', '.join(known)}\n") if asked is None else asked()

    def _live(self) -> Answer:
        turned = threading.Event()
        try:
            self._loop.call_soon_threadsafe(turned.set)
        except RuntimeError:
            return 503, PLAIN, "the worker has ended\n"
        if turned.wait(LIVE_SECONDS):
            return 200, PLAIN, "live\n"
        return 503, PLAIN, f"the worker's loop has taken no turn for {LIVE_SECONDS:g} s\n"

    def _ready(self) -> Answer:
        worker = self._report()
        if worker is None:
            return 503, PLAIN, "the worker does not run yet, or has ended\n"
        return (503, PLAIN, "the worker ends\n") if worker.ends else (200, PLAIN, "ready\n")

    def _metrics(self) -> Answer:
        try:
            return 200, OPEN_METRICS, metrics_text(self._app.registry, self._stats(), self._report())
        except KumofireError as exc:
            return 503, PLAIN, f"the database cannot be read: {exc}\n"

    def _stats(self) -> Stats:
        with self._looking:
            now = time.monotonic()
            if self._looked is None or now - self._looked[0] > LOOK_SECONDS:
                found = using(self._db, lambda storage: self._app.bind(db=storage).stats(), read_only=True)
                self._looked = now, found
            return self._looked[1]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answer = self.answer

        class Handler(BaseHTTPRequestHandler):
            timeout = SOCKET_SECONDS
            server_version, sys_version = "kumofire", ""

            def do_GET(self) -> None:
                status, kind, text = answer(self.path)
                body = text.encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Log nothing: probes come every few seconds."""

        return Handler
