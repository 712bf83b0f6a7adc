"""One claim of a flow's instance: it goes from step to step as long as its lease and its budget reach.

Each step ends in a move. One that enters another task keeps the claim: once it is stored, the next handler
is called. What was stored last is where an instance goes on after a crash.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Final

from kumofire_fsm.engine.binding import Binding, about
from kumofire_fsm.engine.definitions import Definition
from kumofire_fsm.engine.flow_jobs import FlowJob
from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.flows.instance import FlowMachine
from kumofire_fsm.flows.moves import ADVANCE, entering, letter_for
from kumofire_fsm.flows.spec import DONE, Kind, StepSpec
from kumofire_fsm.flows.walk import Next, after_task, after_undo, undone_by
from kumofire_fsm.machines.spec import Role
from kumofire_fsm.ports import Statement
from kumofire_fsm.signals import Fire, Go, Snooze
from kumofire_fsm.store.rows import ClaimedRun, Moved
from kumofire_fsm.values.limits import INLINE_BYTES
from kumofire_fsm.values.typed import Encoded
from kumofire_fsm.work.attempt import Attempt
from kumofire_fsm.work.ending import Ending
from kumofire_fsm.work.step_context import PlainStepContext, StepContext

__all__ = ["FlowAttempt", "attempt_of"]

log = logging.getLogger(__package__)

UNKNOWN_STEP_S: Final = 60
"""After how many seconds an instance is looked at again whose step is not known here."""


@dataclass(slots=True, eq=False)
class FlowAttempt(Attempt):
    """The steps of one claim.

    Attributes:
        job: the flow; `definition` is that of the step's own handler.
    """

    job: FlowJob = field(init=False)
    _step: StepSpec | None = field(init=False, default=None)
    _done: tuple[str, ...] = field(init=False, default=())
    """The tasks that were done and have an undo, in order."""
    _text: str = field(init=False, default="")
    _read: Encoded | None = field(init=False, default=None)
    """What the handler returned, as its text was read: what the next one is given."""
    _step_ms: int = field(init=False, default=0)
    """How long a step may last."""
    _moves_ms: float = field(init=False, default=0.0)
    """When the move was made that is to be stored, by the clock that nobody sets."""

    def __post_init__(self) -> None:
        assert isinstance(self.definition, FlowJob)
        self.job = self.definition
        self._step_ms, _ = self.binding.timing.lease_for(self.job.timeout_ms)
        self._text = self.run.body or ""
        self._enter(tuple(json.loads(self.run.undo or "[]")))

    def _enter(self, done: tuple[str, ...]) -> None:
        """Make ready for the step in which the run is."""
        name = self.run.step or ""
        self._step, self._done = self.job.flow.step(name), done
        step = self._step
        handlers = self.job.tasks
        if step is not None and step.kind is Kind.UNDO:
            handlers, name = self.job.undos, undone_by(self.job.flow, name, done) or name
        self.definition = handlers.get(name, self.job)
        self.context = (StepContext if self.definition.is_async else PlainStepContext)(
            self.run, **self._what()
        )
        self.stop_reason = self._unstored = None  # a step begins without progress

    async def perform(
        self, suspended: Callable[[], None] = lambda: None, executor: Executor | None = None
    ) -> Ending | None:
        """Do the step: call its handler, or find out where a wait or an undo leads; see `Attempt.perform`."""
        step = self._step
        if step is None:
            log.error(
                "run %s of the flow %r is in %r, no step here",
                *(self.run.id, self.run.job, self.run.step),
                extra=about(self.run),
            )
            return self.snoozed(Snooze(UNKNOWN_STEP_S))
        if step.kind is Kind.WAIT:
            return self._at_wait(step)
        if step.kind is Kind.UNDO and (not self._done or self._is_skipped()):
            return self._go(after_undo(self.job.flow, step.id, self._done), self._text)
        return await Attempt.perform(self, suspended, executor)  # a class with slots knows no super()

    def _payload(self, body: str | None) -> Any:
        self._text, read, self._read = body or "", self._read, None
        return read.back if read is not None and read.text == body else Attempt._payload(self, body)

    def _is_skipped(self) -> bool:
        told = self.run.letter
        return told is not None and json.loads(told)[0][1] == "skip_undo"

    def succeeded(self, value: Any, effects: Sequence[Statement]) -> Ending:
        """Go on to where the step leads whose handler returned the flow's data."""
        return self._left(DONE, value, effects)

    def fired(self, signal: Fire) -> Ending:
        """Go on by the event that the handler named."""
        if not isinstance(signal, Go):
            given = f"Fire({signal.event!r})"
            return self.failed(
                InvalidArgument(f"{given}: a step of a flow is left by Go(...), or by returning")
            )
        return self._left(signal.event, signal.data, self.context.close())

    def _gives_up(self, target: str) -> bool:
        """Return whether the step failed for good; the flow may go on elsewhere."""
        return target != FlowMachine.retrying.id

    def _called(self) -> str:
        return f"the step {self.run.step!r} of {Attempt._called(self)}"

    def _left(self, event: str, value: Any, effects: Sequence[Statement]) -> Ending:
        flow, step = self.job.flow, self._step
        assert step is not None
        try:
            self._read = self.definition.encode_data(value)
            text = self._text if self._read is None else self._read.text
            if step.kind is Kind.UNDO and event == DONE:
                return self._go(after_undo(flow, step.id, self._done), text, effects)
            data = self.definition.decode_payload(text) if self._read is None else self._read.back
            return self._go(after_task(flow, step.id, data, self._done, event), text, effects)
        except BaseException as exc:  # also what the application's own types raise
            if self.ends_worker(exc):
                raise
            return self.final(exc)

    def _at_wait(self, step: StepSpec) -> Ending:
        """Take a signal that has come already, or let the instance rest."""
        found = letter_for(self.job.flow, step, self._row())
        if found is None:
            return self._go(Next(step, self._done, ""), self._text, rests=True)
        letter, to = found
        return self._go(to, self._text, letter=letter)

    def _row(self) -> dict[str, Any]:
        return {**self.job.machine.fields, **self.run._asdict(), "now": self.binding.now()}

    def _go(self, to: Next, text: str, effects: Sequence[Statement] = (), **how: Any) -> Ending:
        """Return the ending by which a step is entered."""
        job = self.job
        row = self._row() if to.step.kind is Kind.WAIT else {}
        event, what = entering(job.flow, to, row, tries=to.step.max_attempts or job.tries, **how)
        large = len(text) > INLINE_BYTES
        goes_on = event == ADVANCE
        if goes_on:
            what["was_visit"] = self.run.visit
        what["step_ms"], what["lease_ms"] = self._step_ms, min(self.lease_ms or self._step_ms, self._step_ms)
        what["data"] = "" if large else text
        move, self._moves_ms = self.move(event, **what), self._steady_ms()
        was_large = len(self._text) > INLINE_BYTES
        return Ending(
            move,
            self.run,
            text if large and text != self._text else None,
            effects,
            self.failed,
            kind="payload",
            goes_on=goes_on,
            text=text,
            drops=was_large and not large,
            done=to.done,
        )

    def go_on(self, ending: Ending, moved: Moved) -> bool:
        """Enter the step that an ending led to, once it is stored; return whether this claim goes on.

        Whoever canceled it after that has left it to this claim: it is given back, and no handler is called.
        """
        move, run = ending.move, self.run
        if not ending.goes_on or not self.job.machine.has_role(moved.state, Role.LEASED):
            return False
        mail = run.mail
        if move.taken is not None:
            mail = json.dumps([letter for letter in json.loads(mail or "[]") if letter[0] != move.taken])
        self._text, self.set_ms = ending.text, move.now - self._moves_ms
        self.run = run._replace(
            step=move.to_step,
            visit=(run.visit or 0) + 1,
            attempt=1,
            max_attempts=move.tries,
            body=ending.text,
            undo=move.to_undo,
            mail=mail,
            letter=move.told,
            timeout_at=move.now + move.step_ms,
            wake_at=moved.wake_at or run.wake_at,
        )
        self._renewed_ms = 0.0  # the lease is what the move wrote, although another was written before it
        self._enter(ending.done)
        self.seen(moved.state)
        return True


def attempt_of(binding: Binding, run: ClaimedRun, definition: Definition, **what: Any) -> Attempt:
    """Return the attempt at a claimed run: of a job's handler, or of a flow's steps."""
    kind = FlowAttempt if isinstance(definition, FlowJob) else Attempt
    return kind(binding, run, definition, **what)
