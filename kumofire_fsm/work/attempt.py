"""Calls a handler once, and says which event its ending is.

Nothing is written here. Settling stands outside the handler's ``try``: a storage error after a success
must neither run the handler again in this process nor count as the handler's failure.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from kumofire_fsm.engine.binding import Binding, log
from kumofire_fsm.engine.definitions import Definition
from kumofire_fsm.engine.moves import fire_one
from kumofire_fsm.errors import (
    InvalidArgument,
    KumofireError,
    LeaseLost,
    TooLarge,
    TransitionError,
    UnknownRun,
)
from kumofire_fsm.machines.spec import Role
from kumofire_fsm.ports import Statement
from kumofire_fsm.retry import backoff_ms
from kumofire_fsm.signals import Cancel, Fail, Fire, Retry, Snooze
from kumofire_fsm.store.rows import ClaimedRun, Move
from kumofire_fsm.values.jsontext import cut, encode, first_line, json_facts
from kumofire_fsm.values.limits import ERROR_BYTES, INLINE_BYTES, PROGRESS_BYTES
from kumofire_fsm.values.times import LAST_MS, duration_ms, instant_ms
from kumofire_fsm.work import driving
from kumofire_fsm.work.budget import AROUND_EFFECTS, most_statements
from kumofire_fsm.work.context import RunContext
from kumofire_fsm.work.error_text import error_text, text_of

__all__ = ["Attempt", "Ending", "release"]

_NOTE_LENGTH = 80
_NOTE_BYTES = 160
"""In ASCII JSON at most six times that, and so within `kumofire_fsm.values.limits.FACTS_BYTES`."""


class Ending(NamedTuple):
    """What became of an attempt.

    Attributes:
        move: the event to fire.
        body: a result too large for the run's row.
        effects: the handler's own statements, to be committed with the move or not at all.
        refused: gives the ending instead when the database refuses them.
    """

    move: Move
    body: str | None = None
    effects: Sequence[Statement] = ()
    refused: Callable[[Exception], Ending] | None = None

    def given_back(self) -> Ending:
        """Return the ending that gives the run back instead, with its attempt."""
        return Ending(self.move._replace(event="release", value=None, next_at=None, facts=None))


@dataclass(slots=True, eq=False)
class Attempt:
    """One call of a handler for one claimed run.

    Attributes:
        stop_reason: why the worker ended the call ("timeout", "lost" or "shutdown"), if it did.
        task: the task that runs the handler, once it has begun.
    """

    binding: Binding
    run: ClaimedRun
    definition: Definition
    stop_reason: str | None = None
    task: asyncio.Task[Any] | None = None
    context: RunContext = field(init=False)

    def __post_init__(self) -> None:
        self.context = RunContext(
            self.run,
            env=self.binding.env,
            jobs=self.binding.jobs,
            clock=self.binding.clock.now,
            beat=self.heartbeat,
        )

    @property
    def key(self) -> tuple[str, int]:
        """What tells it from every other attempt: its run, and which start of it."""
        return self.run.id, self.run.starts

    async def perform(
        self, suspended: Callable[[], None] = lambda: None, executor: Executor | None = None
    ) -> Ending | None:
        """Call the handler within its lease and its timeout; return how it ended, None if the run is lost.

        Args:
            suspended: called when the handler first waits for something.
            executor: where plain functions run; None to call them in the event loop.
        """
        timeout_ms, loop = self.definition.timeout_ms, asyncio.get_running_loop()
        if self.run.timeout_at < self.binding.now() + timeout_ms:
            return release(self.binding, self.run)  # it has waited too long for its turn
        timers: list[asyncio.TimerHandle] = []

        def begin_to_wait() -> None:
            timers.append(loop.call_later(timeout_ms / 1000, self.stop, "timeout"))
            suspended()

        self.task = asyncio.current_task()
        try:
            return await self._ended(begin_to_wait, executor)
        except KumofireError:
            log.exception("run %s: the attempt broke; its lease will run out", self.run.id)
            return None
        finally:
            self.task = None
            for timer in timers:
                timer.cancel()

    async def _ended(self, suspended: Callable[[], None], executor: Executor | None) -> Ending | None:
        try:
            payload = self.definition.decode_payload(self.run.body)
        except Exception as exc:
            return self._failed(exc)  # a later deploy may mend it, so it is retried
        try:
            value = await driving.drive(self._call(payload, executor), suspended)
        except asyncio.CancelledError as exc:
            return self._stopped(exc)
        except Snooze as signal:
            return self._snoozed(signal)
        except Fire as signal:
            return self._fired(signal)
        except Cancel as signal:
            return self._ending("stop", value=cut(text_of(signal), ERROR_BYTES) or None)
        except Fail as signal:
            return self._final(signal)
        except (Exception, SystemExit) as exc:  # some libraries exit where they should raise
            return self._failed(exc)
        finally:
            self._forget_cancellation()
        try:
            text = self.definition.encode_result(value)
        except Exception as exc:  # also what the application's own types raise
            return self._final(exc)
        large = text is not None and len(text) > INLINE_BYTES
        move = self.move("succeed", value="" if large else text)
        effects, most = self.context.close(), most_statements(self.binding.storage)
        if most is not None and len(effects) > most - AROUND_EFFECTS:
            said = f"ctx.commit registered {len(effects)} statements; an invocation may send {most} in all"
            return self._final(TooLarge(f"{said}: commit fewer, or raise max_statements if your plan allows"))
        return Ending(move, text if large else None, effects, self._failed)

    def stop(self, reason: str) -> None:
        """End the call; a plain function in a thread goes on, but its ending no longer counts."""
        if self.stop_reason is None and self.task is not None:
            self.stop_reason = reason
            self.task.cancel()

    async def heartbeat(self, progress: Any) -> None:
        """Renew the lease for `RunContext.heartbeat`."""
        value = None if progress is None else encode(progress, "progress", PROGRESS_BYTES)
        lease = self.binding.timing.lease_for(self.definition.timeout_ms)[1]
        try:
            moved = await fire_one(self.binding, self.move("heartbeat", value=value, lease_ms=lease))
        except (TransitionError, UnknownRun) as exc:
            raise LeaseLost(
                f"run {self.run.id}: attempt {self.run.attempt} no longer owns it; stop working on it",
                row_id=self.run.id,
                event="heartbeat",
                state=self.run.state,
            ) from exc
        self.seen(moved.state)

    def seen(self, state: str) -> None:
        """Note where a heartbeat found the run: another state than the claim's is a request to stop."""
        self.context.canceled = state != self.run.state

    async def _call(self, payload: Any, executor: Executor | None) -> Any:
        definition = self.definition
        arguments = (self.context, payload) if definition.takes_payload else (self.context,)
        if definition.is_async:
            return await definition.handler(*arguments)
        if executor is None:
            value = definition.handler(*arguments)
            return await value if inspect.isawaitable(value) else value
        loop, inside = asyncio.get_running_loop(), contextvars.copy_context()
        value = await loop.run_in_executor(
            executor, lambda: inside.run(driving.without_stop_iteration, definition.handler, arguments)
        )
        return await value if inspect.isawaitable(value) else value

    def _stopped(self, exc: asyncio.CancelledError) -> Ending | None:
        task = asyncio.current_task()
        if self.stop_reason is None:
            if task is not None and task.cancelling():
                raise exc  # the whole worker is being cancelled, and not this call
            return self._failed(RuntimeError("the handler cancelled itself"))
        if self.stop_reason == "timeout":
            seconds = self.definition.timeout_ms / 1000
            return self._failed(TimeoutError(f"the handler took longer than its timeout of {seconds:g} s"))
        return release(self.binding, self.run) if self.stop_reason == "shutdown" else None

    def _forget_cancellation(self) -> None:
        """Take back our own request to cancel, so that the task can go on with other runs."""
        if self.stop_reason is None:
            return
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            task.uncancel()

    def _snoozed(self, signal: Snooze) -> Ending:
        try:
            until = self._until(signal.until, "Snooze(until=...)")
        except KumofireError as exc:
            return self._failed(exc)
        return self._ending("snooze", next_at=until)

    def _fired(self, signal: Fire) -> Ending:
        """Fire the handler's event; one that its machine could leave unanswered is the handler's failure."""
        machine = self.binding.runs.specs[self.run.machine]
        if signal.event not in machine.endings:
            may = ", ".join(machine.endings)
            return self._failed(
                InvalidArgument(
                    f"Fire({signal.event!r}): the handlers of the machine {machine.name!r} may fire {may}"
                )
            )
        try:
            until = self._until(signal.until, "Fire(until=...)")
        except KumofireError as exc:
            return self._failed(exc)
        facts = None if signal.note is None else json_facts(note=cut(str(signal.note), _NOTE_BYTES))
        return Ending(self.move(signal.event, next_at=until, facts=facts))

    def _until(self, until: datetime | timedelta | float, what: str) -> int:
        """Return an instant, or a time from now, in milliseconds."""
        if isinstance(until, datetime):
            return instant_ms(until, what)
        return self.binding.now() + duration_ms(until, what)

    def _failed(self, exc: BaseException) -> Ending:
        """Fire ``retry``, whose edges know whether it is tried again; ``fail`` when the policy says never."""
        try:
            wait = 0 if self._settles("retry") else self._wait_ms(exc)  # asked only if somebody waits
        except Exception as broken:
            log.exception("the retry policy of job %r failed", self.run.job)
            return self._final(broken)
        if wait is None:
            return self._final(exc)
        ending = self._ending("retry", error=exc, next_at=self.binding.now() + wait)
        move = ending.move
        settles = self._settles("retry", now=move.now, next_at=move.next_at, value=move.value)
        if settles:
            return self._told_final(ending)
        failed = "failed" if settles is None else "failed, and is tried again"
        why = first_line(str(move.value), _NOTE_LENGTH)
        told = self.run.id, self.run.job, self.run.attempt, self.run.max_attempts, failed, why
        log.warning("run %s of job %r: attempt %d of %d %s: %s", *told)
        return ending

    def _settles(self, event: str, **given: Any) -> bool | None:
        """Return whether the event will settle the run; None if its claim and ``given`` do not tell."""
        machine = self.binding.runs.specs[self.run.machine]
        targets = machine.targets({**self.run._asdict(), **given}, event)
        ends = {machine.has_role(state, Role.SETTLED) for state in targets}
        return ends.pop() if len(ends) == 1 else None

    def _wait_ms(self, exc: BaseException) -> int | None:
        """Return for how long to wait after a failure; None when the policy says never."""
        asked = self._asked(exc)
        if asked is not None:
            return asked
        return backoff_ms(self.definition.retry, self.run.attempt, exc, self.binding.entropy)

    def _asked(self, exc: BaseException) -> int | None:
        """Return the wait that a `Retry` asks for; None without one that can be used."""
        if not isinstance(exc, Retry) or exc.after is None:
            return None
        try:
            return max(0, duration_ms(exc.after, "Retry(after=...)", least=-LAST_MS))
        except KumofireError as unusable:
            log.error("run %s: %s; the job's own backoff counts", self.run.id, unusable)
            return None

    def _final(self, exc: BaseException) -> Ending:
        return self._told_final(self._ending("fail", error=exc))

    def _told_final(self, ending: Ending) -> Ending:
        log.error("run %s of job %r failed for good: %s", self.run.id, self.run.job, ending.move.value)
        return ending

    def _ending(
        self,
        event: str,
        *,
        value: str | None = None,
        error: BaseException | None = None,
        next_at: int | None = None,
    ) -> Ending:
        facts = None
        if error is not None:
            value = error_text(error)
            facts = json_facts(error=first_line(value, _NOTE_LENGTH))
        return Ending(self.move(event, value=value, next_at=next_at, facts=facts))

    def move(self, event: str, **what: Any) -> Move:
        """Return an event to fire on the run, fenced by this attempt's claim."""
        run = self.run
        return self.binding.move(run.id, event, starts=run.starts, claim=run.claim, **what)


def release(binding: Binding, run: ClaimedRun) -> Ending:
    """Return the ending that gives a claimed run back, with its attempt."""
    return Ending(binding.move(run.id, "release", starts=run.starts, claim=run.claim))
