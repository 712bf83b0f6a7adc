"""Plays a flow in virtual time, without a database: its own handlers, and its own table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from kumofire_fsm.app import Kumofire
from kumofire_fsm.engine.binding import EMBEDDED
from kumofire_fsm.engine.flow_jobs import FlowJob, signal_text
from kumofire_fsm.errors import GuardFailed, InvalidArgument, StoreError, TransitionError
from kumofire_fsm.flows.flow import Flow
from kumofire_fsm.flows.steps import Signal
from kumofire_fsm.machines.spec import Role
from kumofire_fsm.models import NewRun, history_entries
from kumofire_fsm.ports import Row, Statement
from kumofire_fsm.runs.creation import RowMaker
from kumofire_fsm.store.rows import MOVED, ClaimedRun, Moved
from kumofire_fsm.testing._rows import NOW
from kumofire_fsm.values.checks import part_id
from kumofire_fsm.values.ids import new_token
from kumofire_fsm.values.times import moment
from kumofire_fsm.work.bound import BoundJobs
from kumofire_fsm.work.flow_attempt import FlowAttempt
from kumofire_fsm.work.payloads import payloads_of

__all__ = ["Play"]

MOST_MOVES: Final = 1_000
"""Moves after which a flow counts as one that goes round for ever."""


class Play:
    """One instance of a flow.

    Handlers are the application's; plain ones are called on the event loop. Retries wait in virtual time.

    Args:
        app: the application that serves the flow.
        flow: the flow.
        data: what the instance begins with.
        env: what handlers find in ``ctx.env``.

    Attributes:
        commits: (step, SQL) of what handlers registered with ``ctx.commit``, where the step was done.
    """

    def __init__(self, app: Kumofire, flow: type[Flow[Any]], data: Any, *, env: Any = None) -> None:
        job = app.registry.get(flow)
        assert isinstance(job, FlowJob)
        job.check()
        self._job, self._machine, self._clock = job, job.machine, _Clock()
        self._binding = app.binding(_NoDatabase(), None, env, EMBEDDED)
        self._binding.clock = self._clock
        BoundJobs(self._binding)  # what handlers find in ctx.jobs: each call says that there is no database
        made = RowMaker(self._binding).make(NewRun(job.name, data))
        self._row = {**made.columns, "payload": made.columns["payload"] or made.body}
        self.commits: list[tuple[str, str]] = []

    @property
    def step(self) -> str:
        """The step in which the instance is."""
        return str(self._row["step"])

    @property
    def state(self) -> str:
        """The state of its run."""
        return str(self._row["state"])

    @property
    def data(self) -> Any:
        """The flow's data, as its model."""
        return self._job.decode_payload(self._row["payload"])

    @property
    def error(self) -> str | None:
        """The last error's text."""
        error: str | None = self._row["error"]
        return error

    @property
    def path(self) -> list[str]:
        """The steps that were entered, in order."""
        return [e.facts["step"] for e in history_entries(self._row["history"]) if "step" in e.facts]

    @property
    def now(self) -> datetime:
        """The virtual time."""
        return moment(self._clock.now())

    async def run(self) -> str:
        """Do what is due until the instance waits or has ended; return its step.

        Raises:
            InvalidArgument: it goes round for ever.
        """
        for _ in range(MOST_MOVES):
            if not self._machine.has_role(self.state, Role.CLAIMABLE):
                return self.step
            self._clock.at = max(self._clock.at, self._row["run_at"])  # a retry waits
            await self._claim()
        raise InvalidArgument(f"{self._job.name!r} was moved {MOST_MOVES:,} times and has not come to rest")

    async def signal(self, signal: Signal | str, value: Any = None, *, key: str | None = None) -> str:
        """Tell the instance something, and do what is due then; return its step.

        Raises:
            UnknownSignal, InvalidPayload: the flow has no such signal, or the value does not fit.
            TransitionNotAllowed: the instance has ended.
        """
        name = part_id(signal, "signal")
        text = signal_text(self._job, self._machine.name, name, value)
        try:
            self._fire(name, value=text, signal_key=key)
        except GuardFailed:
            if key is None or key not in json.loads(self._row["keys"]):
                raise
        return await self.run()

    async def cancel(self) -> str:
        """Ask the instance to stop, and do what is due then; return its step."""
        self._fire("cancel")
        return await self.run()

    async def advance(self, time: timedelta | None = None, **parts: float) -> str:
        """Let time pass, fire the deadlines that it reaches, and do what is due then; return the step.

        Args:
            time: how long; or as keywords of `datetime.timedelta`, such as ``days=14``.
        """
        ends = self._clock.at + (timedelta(**parts) if time is None else time) // timedelta(milliseconds=1)
        while (wake_at := self._row["wake_at"]) is not None and wake_at <= ends:
            self._clock.at = max(self._clock.at, wake_at)
            state = self._machine.state(self.state)
            assert state is not None
            assert state.deadline is not None
            if state.role is Role.WAITING:
                self._first_open(state.deadline.fires)
            await self.run()
        self._clock.at = max(self._clock.at, ends)
        return self.step

    def _first_open(self, events: Sequence[str]) -> None:
        for event in events:
            try:
                self._fire(event)
            except TransitionError:
                continue
            return

    async def _claim(self) -> None:
        timing, timeout = self._binding.timing, self._job.timeout_ms
        whole, lease = timing.lease_for(timeout)
        self._fire("start", token=new_token(self._binding.entropy), timeout_ms=whole, lease_ms=lease)
        columns = {name: self._row.get(name) for name in ClaimedRun._fields}
        run = ClaimedRun(**{**columns, "body": self._row["payload"]})
        clock = self._binding.clock
        what: dict[str, Any] = {"payloads": payloads_of(self._binding, [run]), "worker_ends": lambda: False}
        what["set_ms"] = clock.now() - clock.monotonic() * 1000
        what["lease_ms"] = timing.lease_ms
        attempt = FlowAttempt(self._binding, run, self._job, shared_platform=False, **what)
        goes_on = True
        while goes_on:
            attempt.context._beat = _beat
            step, ending = self.step, await attempt.perform()
            assert ending is not None
            move = ending.move._asdict()
            parameters = {name: value for name, value in move.items() if name in self._machine.parameters}
            self._fire(ending.move.event, **parameters)
            if ending.body is not None:
                self._row["payload"] = ending.body
            self.commits += [(step, statement.sql) for statement in ending.effects]
            moved = Moved(*(self._row[name] for name in MOVED))
            goes_on = attempt.go_on(ending, moved)

    def _fire(self, event: str, **parameters: Any) -> None:
        given = {**self._binding.timing.columns(), "now": self._clock.now(), **parameters}
        self._row = self._machine.step(self._row, event, **given)


class _Clock:
    """Virtual time, in milliseconds."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> int:
        return self.at

    def monotonic(self) -> float:
        return self.at / 1000

    async def sleep(self, seconds: float) -> None:
        self.at += int(seconds * 1000)


class _NoDatabase:
    """Refuses statements: a play has no database."""

    async def execute(self, statement: Statement) -> list[Row]:
        raise StoreError(f"a play has no database: {statement.name}; give the handler a double in env")

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        return [await self.execute(statement) for statement in statements]


async def _beat(progress: Any) -> None:
    """Renew no lease: nobody takes an instance from a play."""
