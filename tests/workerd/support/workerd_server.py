"""Runs a Python Worker in workerd, and drives it over HTTP."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

from patience import SECONDS_MAX
from workerd_parts import HERE

STOP_SECONDS = 20
COMPATIBILITY_DATE = "2026-11-01"


@dataclass(frozen=True)
class Bindings:
    """What the Worker's configuration gives it; the names are Miniflare's.

    Attributes:
        databases: D1 binding -> id.
        producers: queue binding -> queue.
        consumers: queue -> {maxBatchSize, maxBatchTimeout, maxRetries, deadLetterQueue, retryDelay}.
        variables: binding -> value.
        compatibility_date: which of the runtime's changes apply.
        state: the folder of D1's files; else they end with the Worker.
    """

    databases: dict[str, Any]
    producers: dict[str, Any]
    consumers: dict[str, dict[str, Any]]
    variables: dict[str, Any] = field(default_factory=dict)
    compatibility_date: str = COMPATIBILITY_DATE
    state: Path | None = None

    def options(self) -> dict[str, Any]:
        return {
            "compatibilityDate": self.compatibility_date,
            "d1Databases": self.databases,
            "d1Persist": str(self.state) if self.state else False,
            "queueProducers": self.producers,
            "queueConsumers": self.consumers,
            "bindings": self.variables,
        }


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    text: str
    headers: Message

    def json(self) -> Any:
        return json.loads(self.text)


@dataclass(frozen=True)
class Dispositions:
    """What the consumer decided for a batch, by message id."""

    outcome: str
    acked: list[str]
    retried: dict[str, int | None]
    ack_all: bool
    retry_all: bool


class Server:
    """A Worker in a process of its own; it ends with this process, whatever happens to it.

    Args:
        node: the Node to run it with.
        folder: where the options and the log are written.
        wheels: what is installed in the runtime.
        sources: folders of Python files that stand beside each other, as a Worker's own.
        bindings: see there.
        timed: modules to import first, so that the time of each is known.
        main: the module whose `Default` gets the events.
        callers: Workers in JavaScript that call it through the service binding ``JOBS``, as Miniflare's
            options: ``name`` and ``scriptPath`` at least.
    """

    def __init__(
        self,
        node: Path,
        folder: Path,
        *,
        wheels: Sequence[Path],
        sources: Sequence[Path],
        bindings: Bindings,
        timed: Sequence[str] = (),
        main: str = "entry",
        callers: Sequence[Mapping[str, str]] = (),
    ) -> None:
        options = {
            "modules": [*timed, main],
            "wheels": [str(wheel) for wheel in wheels],
            "sources": [str(source) for source in sources],
            "worker": bindings.options(),
            "callers": list(callers),
        }
        file = folder / "options.json"
        file.write_text(json.dumps(options))
        self._log = folder / "server.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [str(node), str(HERE / "server.mjs"), str(file)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        try:
            self.boot = self._first_line()
        except BaseException:
            self.stop()
            raise
        self.url = self.boot["url"].rstrip("/")

    def _first_line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], SECONDS_MAX)
        line = self._process.stdout.readline() if ready else b""
        if not line:
            raise RuntimeError(f"the Worker did not start:\n{self.log()[-6000:]}")
        facts: dict[str, Any] = json.loads(line)
        return facts

    def log(self) -> str:
        """Return what the Worker printed so far, and what workerd said."""
        return self._log.read_text(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Close its standard input; when that does not help, kill its process group."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        process.stdout.close()

    # -- HTTP -------------------------------------------------------------------------------------

    def request(
        self,
        path: str,
        body: Any = None,
        *,
        method: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Ask the Worker, with JSON or the bytes given; an error status is an answer like any other."""
        return _request(self.url + path, body, method, headers)

    def call(self, action: str, **arguments: Any) -> Any:
        """Call one of the test Worker's actions."""
        reply = self.request(f"/{action}", arguments)
        if reply.status != 200:
            raise AssertionError(f"{action} answered {reply.status}: {reply.text[:4000]}")
        return reply.json()

    def deliver(self, queue: str, bodies: Sequence[Any], *, attempts: int = 1) -> Dispositions:
        """Hand the consumer exactly this batch, with ids m0, m1, ...; return what it decided."""
        now = time.time_ns() // 1_000_000
        messages = [
            {"id": f"m{i}", "timestamp": now, "attempts": attempts, "body": body}
            for i, body in enumerate(bodies)
        ]
        answer = self._control("queue", queue=queue, messages=messages)
        return Dispositions(
            outcome=answer["outcome"],
            acked=answer["explicitAcks"],
            retried={each["msgId"]: each.get("delaySeconds") for each in answer["retryMessages"]},
            ack_all=answer["ackAll"],
            retry_all=answer["retryBatch"]["retry"],
        )

    def tick(self, cron: str = "* * * * *", *, time_ms: int | None = None) -> Reply:
        """Fire a cron tick through the URL that Miniflare keeps for it."""
        query = {"cron": cron, "time": time_ms or time.time_ns() // 1_000_000}
        return self.request(f"/cdn-cgi/handler/scheduled?{urlencode(query)}")

    def ask(self, caller: str, path: str, body: Any = None) -> Reply:
        """Ask a Worker that calls this one; with a body by POST."""
        answer = self._control("ask", name=caller, path=path, body=body)
        return Reply(answer["status"], answer["text"], Message())

    def _control(self, action: str, **arguments: Any) -> Any:
        reply = _request(f"{self.boot['control']}/{action}", arguments)
        if reply.status != 200:
            raise AssertionError(f"{action} answered {reply.status}: {reply.text[:4000]}")
        return reply.json()

    # -- the test Worker --------------------------------------------------------------------------

    def sql(self, text: str, argument: str | None = None) -> list[dict[str, Any]]:
        """Run one statement on D1 and return its rows; an error of D1's is raised with its text."""
        answer = self.call("sql", statements=[[text, argument]])
        if "error" in answer:
            raise D1Error(answer["error"])
        rows: list[dict[str, Any]] = answer["rows"][0]
        return rows

    def run_suite(self, module: str, test: str, *, form: str = "metered") -> list[dict[str, Any]]:
        """Run one test inside the Worker, on fresh tables; return what each of its statements cost.

        Args:
            module: the suite.
            test: its function.
            form: which form of the D1 binding the storage gets: "metered", "wrapped" or "raw".
        """
        answer = self.call("run_suite", module=module, test=test, form=form)
        if not answer["ok"]:
            raise AssertionError(f"in workerd: {answer['error']}\n{answer['traceback']}")
        calls: list[dict[str, Any]] = answer["calls"]
        return calls


class D1Error(Exception):
    """What D1 refused, in its own words."""


def _request(
    url: str, body: Any, method: str | None = None, headers: Mapping[str, str] | None = None
) -> Reply:
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=SECONDS_MAX) as answer:
            return Reply(answer.status, answer.read().decode(), answer.headers)
    except urllib.error.HTTPError as exc:
        with exc:
            return Reply(exc.code, exc.read().decode(), exc.headers)
