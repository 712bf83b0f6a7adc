"""Calls a handler once, within its lease and its timeout.

Nothing is written here. Settling stands outside the handler's ``try``: a storage error after a success
must neither run the handler again in this process nor count as the handler's failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import logging
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from types import coroutine
from typing import Any, Final

from kumofire_fsm.engine.binding import HANDLED, about
from kumofire_fsm.engine.moves import fire_one
from kumofire_fsm.engine.own_task import calm
from kumofire_fsm.engine.reading import InTurn
from kumofire_fsm.errors import (
    Conflict,
    GuardFailed,
    KumofireError,
    LeaseLost,
    OpenedElsewhere,
    RowRefused,
    StatementRefused,
    StoreError,
    TransitionNotAllowed,
    UnknownRun,
)
from kumofire_fsm.store.rows import LEFT_OUT, Move, Moved
from kumofire_fsm.values.error_text import logged
from kumofire_fsm.values.jsontext import encode
from kumofire_fsm.values.limits import PROGRESS_BYTES
from kumofire_fsm.values.owner import end_child, forks
from kumofire_fsm.work.context import PlainContext, RunContext
from kumofire_fsm.work.ending import Claim, Ending

__all__ = ["Attempt"]

log = logging.getLogger(__package__)

SET_MS: Final = 1_000
"""By more than this a clock that nobody sets does not part from one that counts."""
CANCELED: Final = "canceled"
LOST: Final = "lost"
STOPPED: Final = "canceled while it ran: its handler was stopped"
"""What is stored of a run whose handler let the `asyncio.CancelledError` out that a cancellation sent."""


@dataclass(slots=True, eq=False)
class Attempt(Claim):
    """One call of a handler for one claimed run.

    Attributes:
        payloads: gives its payload, where the claim left it out.
        worker_ends: tells whether its worker cancels what is under way, or is being cancelled itself.
        stopped: called once the call is ended for good, as a handler may go on all the same.
        stop_reason: why the worker ended the call, if it did: "canceled", where it leaves the handler its
            grace, or for good "timeout", "shutdown" or "lost", where nothing counts that the handler does.
        lease_ms: how long its lease is, where its worker renews it; None for as long as the attempt may last.
        task: the task that runs the handler, once it has begun.
        set_ms: how far the clock was ahead of the one that nobody sets when the run was claimed.
    """

    payloads: InTurn[str] = field(kw_only=True)
    worker_ends: Callable[[], bool] = field(kw_only=True)
    stopped: Callable[[Attempt], None] = field(default=lambda _: None, kw_only=True)
    lease_ms: int | None = field(default=None, kw_only=True)
    stop_reason: str | None = None
    task: asyncio.Task[Any] | None = None
    context: RunContext = field(init=False)
    set_ms: float = field(kw_only=True)
    _clock_was_set: bool = False
    _asked_ms: float = 0.0
    """Until when the lease is to be held that was asked for last, by the clock that nobody sets."""
    _renewed_ms: float = 0.0
    _unheard: bool = False
    """Whether the last heartbeat of its handler met a failing database."""
    _unstored: str | None = None
    """The progress, as JSON text, that such heartbeats did not store."""
    _granted: int | None = None
    """The run's `timeout_at` before a request to stop made it shorter."""
    _timers: list[asyncio.TimerHandle] = field(init=False, default_factory=list)
    """What is to end the call that is under way."""

    def __post_init__(self) -> None:
        plain = not self.definition.is_async
        self.context = (PlainContext if plain else RunContext)(self.run, **self._what())

    def _what(self) -> dict[str, Any]:
        """Return what a handler's context is made with, beside the run."""
        return {
            "name": self.definition.name,
            "env": self.binding.env,
            "jobs": self.binding.jobs,
            "clock": self.binding.clock.now,
            "beat": self.heartbeat,
        }

    async def perform(
        self, suspended: Callable[[], None] = lambda: None, executor: Executor | None = None
    ) -> Ending | None:
        """Call the handler within its lease and its timeout; return how it ended, None if the run is lost.

        Args:
            suspended: called when it has to wait: for its payload, or for what the handler waits for first.
            executor: where plain functions run; None to call them in the event loop.
        """
        if self._is_late() or self.context.canceled:
            return self.released()  # it has waited too long for its turn, or is not to begin
        if log.isEnabledFor(logging.DEBUG):
            said, run = "run %s of job %r: attempt %d of %d starts", self.run
            log.debug(said, run.id, run.job, run.attempt, run.max_attempts, extra=about(run))

        def begin_to_wait() -> None:
            self._stop_after(self.definition.timeout_ms, "timeout")
            suspended()

        self.task = task = asyncio.current_task()
        with self.binding.registry.observer.processing(self.run, self.binding.clock.monotonic) as processing:
            try:
                body = self.run.body if self.run.body != LEFT_OUT else await self._text_of_payload(suspended)
                if isinstance(body, Ending):
                    ending: Ending | None = body
                else:
                    ending = await self._ended(body, begin_to_wait, executor)
            except asyncio.CancelledError as exc:
                ending = self._stopped(exc, called=False)
            except KumofireError as exc:
                why = logged(exc, ours=True)
                said = "run %s: the attempt broke; its lease will run out: %s"
                log.error(said, self.run.id, why, extra=about(self.run))
                ending = None
            finally:
                self.task = None
                for timer in self._timers:
                    timer.cancel()
                self._timers.clear()
            processing.ended(*((None, None) if ending is None else (ending.move.event, ending.move.value)))
        if task is not None and task.cancelling():
            await calm(task)
        return ending if self._granted is None else self._as_granted(ending)

    def _as_granted(self, ending: Ending | None) -> Ending | None:
        """Return an ending with the time that its attempt had before a request to stop made it shorter."""
        if ending is None or self._granted is None:
            return ending
        return ending._replace(run=ending.run._replace(timeout_at=self._granted))

    async def _text_of_payload(self, suspended: Callable[[], None]) -> str | Ending | None:
        """Return the payload that the claim left out, or how the attempt ends without it."""
        try:
            body = await _drive(self.payloads.of(self.run.id), suspended, forks())
        except StoreError:  # told where it was read
            return self.unread()
        return self.released() if self._is_late() or self.lease_is_over else body

    def _is_late(self) -> bool:
        """Return whether its lease does not cover its timeout any more."""
        return self._steady_ms() + self.definition.timeout_ms > self.run.timeout_at - self.set_ms

    async def _ended(
        self, body: str | None, suspended: Callable[[], None], executor: Executor | None
    ) -> Ending | None:
        try:
            payload = self._payload(body)
        except BaseException as exc:
            if self.ends_worker(exc):
                raise
            return self.failed(exc)  # a later deploy may mend it, so it is retried
        handled, born = HANDLED.set(self.run.id), forks()
        try:
            value = await _drive(self._call(payload, executor), suspended, born)
            end_child(born)
            effects = self.context.close()
        except asyncio.CancelledError as exc:
            end_child(born, exc)
            return self._stopped(exc)
        except BaseException as exc:
            end_child(born, exc)
            if self.ends_worker(exc):
                raise
            return None if self.stop_reason == LOST else self.raised(exc)
        finally:
            with contextlib.suppress(ValueError):  # what is left behind may be closed in another context
                HANDLED.reset(handled)
        return None if self.stop_reason == LOST else self.succeeded(value, effects)

    def _payload(self, body: str | None) -> Any:
        return self.definition.decode_payload(body)

    def go_on(self, ending: Ending, moved: Moved) -> bool:  # noqa: ARG002 - for flows
        """Return whether this claim goes on with another step, now that an ending is stored."""
        return False

    def stop(self, reason: str) -> None:
        """End the call; a plain function in a thread goes on, but its ending no longer counts."""
        if self.stop_reason in (None, CANCELED) and self.task is not None:
            self.stop_reason = reason
            self.task.cancel()
            if reason != CANCELED:
                self.stopped(self)

    def _stop_after(self, ms: int, reason: str) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(ms / 1000, self.stop, reason))

    def give_up(self) -> Ending | None:
        """Return how a call ended that was stopped, although its handler goes on: as if it had heeded that.

        Whatever the handler does from here on changes nothing.
        """
        ending, self.stop_reason = self._stopped(asyncio.CancelledError()), LOST
        return self._as_granted(ending)

    async def heartbeat(self, progress: Any) -> None:
        """Renew the lease for `RunContext.heartbeat`; while it holds, a failing database is no matter."""
        value = self._unstored if progress is None else encode(progress, "progress", PROGRESS_BYTES)
        try:
            moved = await fire_one(self.binding, self.renewal(value))
        except (LeaseLost, TransitionNotAllowed, GuardFailed, Conflict, UnknownRun) as exc:
            raise LeaseLost(
                f"run {self.run.id}: attempt {self.run.attempt} no longer owns it; stop working on it",
                row_id=self.run.id,
                event="heartbeat",
                state=self.run.state,
            ) from exc
        except StoreError as exc:
            if isinstance(exc, RowRefused | StatementRefused) or self.lease_is_over:
                raise
            said = "run %s: the database failed a heartbeat (%s); the lease that it has holds"
            level = logging.DEBUG if self._unheard else logging.WARNING
            log.log(level, said, self.run.id, exc, extra=about(self.run))
            self._unheard, self._unstored = True, value
            return
        self._unheard, self._unstored = False, None
        self.renewed(moved.state)
        if value is not None:
            self.context.progressed(value)

    def renewal(self, value: str | None = None) -> Move:
        """Return the heartbeat that renews the lease, with the progress to store.

        It tells when the attempt ends if the clock was set.
        """
        lease_ms = self.lease_ms
        if lease_ms is None:
            lease_ms = max(0, round(self.run.timeout_at - self.set_ms - self._steady_ms()))
        moved_ms = round(self.binding.now() - self._steady_ms() - self.set_ms)
        self._clock_was_set = self._clock_was_set or abs(moved_ms) > SET_MS
        ends_at = self.run.timeout_at + moved_ms if self._clock_was_set else None
        self._asked_ms = self._steady_ms() + lease_ms
        return self.move("heartbeat", value=value, lease_ms=lease_ms, ends_at=ends_at)

    @property
    def is_over(self) -> bool:
        """Whether it must have ended by now, whatever the clock was set to."""
        return self._steady_ms() >= self.run.timeout_at - self.set_ms

    @property
    def lease_is_over(self) -> bool:
        """Whether its lease is over by now, as far as it knows, whatever the clock was set to."""
        return self._steady_ms() >= max(self.run.wake_at - self.set_ms, self._renewed_ms)

    def _steady_ms(self) -> float:
        return self.binding.clock.monotonic() * 1000

    def renewed(self, state: str) -> None:
        """Note that its lease was renewed, and where its run was found."""
        self._renewed_ms = self._asked_ms
        self.seen(state)

    def seen(self, state: str) -> None:
        """Note where its run is: another state than the claim's is a request to stop, told at once.

        What the handler makes of it counts, within its grace: where an async one waits, or waits next, it
        gets `asyncio.CancelledError`. After that its run is lost, and nothing counts any more.
        """
        if state == self.run.state:
            return
        grace_ms = self.binding.timing.grace_ms
        until = round(self._steady_ms() + self.set_ms) + grace_ms
        self._granted = self.run.timeout_at if self._granted is None else self._granted
        self.run = self.run._replace(state=state, timeout_at=min(self.run.timeout_at, until))
        self.context.canceled = True
        if self.task is not None:
            self._stop_after(grace_ms, LOST)
        if self.definition.is_async:
            self.stop(CANCELED)

    async def _call(self, payload: Any, executor: Executor | None) -> Any:
        definition = self.definition
        arguments = (self.context, payload) if definition.takes_payload else (self.context,)
        if not definition.takes_context:
            arguments = (payload,)
        if definition.is_async:
            return await definition.handler(*arguments)
        if executor is None:
            value = definition.handler(*arguments)
        else:
            loop, inside = asyncio.get_running_loop(), contextvars.copy_context()
            value = await loop.run_in_executor(
                executor, lambda: inside.run(_in_thread, definition.handler, arguments)
            )
        return await value if inspect.isawaitable(value) else value

    def _stopped(self, exc: asyncio.CancelledError, *, called: bool = True) -> Ending | None:
        if self.stop_reason is None and self.worker_ends():
            raise exc  # the whole worker is being cancelled, and not this call
        if self.stop_reason == LOST:
            return None
        if not called:  # its payload was being read: there is nothing to say of its handler
            return self.released()
        if self.context.canceled:
            return self.ending("stop", value=STOPPED)
        if self.stop_reason == "shutdown":
            return self.released()
        if self.stop_reason == "timeout":
            seconds = self.definition.timeout_ms / 1000
            return self.failed(TimeoutError(f"the handler took longer than its timeout of {seconds:g} s"))
        return self.failed(RuntimeError("the handler cancelled itself"))


def _in_thread(handler: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Call a plain function, with which a child that it forks ends. No StopIteration passes a future."""
    born = forks()
    try:
        value = handler(*arguments)
    except StopIteration as exc:
        end_child(born, exc)
        raise RuntimeError("the handler raised StopIteration") from exc
    except BaseException as exc:
        end_child(born, exc)
        raise
    end_child(born)
    return value


@coroutine
def _drive(work: Awaitable[Any], suspended: Callable[[], None], born: int) -> Generator[Any, Any, Any]:
    """Await ``work``, calling ``suspended`` when it first has to wait; ``born`` is what `forks` gives here.

    A handler that never waits costs no task of its own and no timer: half of the cost of a quick one.
    """
    steps: Any = work.__await__()
    try:
        waits_for = steps.send(None)
    except StopIteration as stop:
        return stop.value
    _waits_in(born)
    suspended()
    try:
        while True:
            try:
                sent = yield waits_for
            except GeneratorExit:
                steps.close()
                raise
            except BaseException as exc:
                try:
                    waits_for = steps.throw(exc)
                except StopIteration as stop:
                    return stop.value
            else:
                try:
                    waits_for = steps.send(sent)
                except StopIteration as stop:
                    return stop.value
            _waits_in(born)
    finally:
        del waits_for  # an error holds this frame, which is not to hold what the error came from


def _waits_in(born: int) -> None:
    """End a child that a handler has forked, and that would wait on the event loop of its parent."""
    if born != forks():
        said = "a child that an async handler forked cannot await: the event loop is its parent's"
        end_child(born, OpenedElsewhere(said))
