"""How an attempt ends: what its handler returned or raised, said as an event of the run's machine.

Nothing is written here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from kumofire_fsm.engine.binding import Binding, about
from kumofire_fsm.engine.budget import AROUND_EFFECTS
from kumofire_fsm.engine.definitions import Definition
from kumofire_fsm.engine.due import statements_of_claim
from kumofire_fsm.engine.ends import ends_worker
from kumofire_fsm.errors import InvalidArgument, KumofireError, TooLarge
from kumofire_fsm.machines.spec import Role
from kumofire_fsm.ports import Statement
from kumofire_fsm.retry import backoff_ms
from kumofire_fsm.signals import Cancel, Fail, Fire, Retry, Snooze
from kumofire_fsm.store.rows import Body, ClaimedRun, Move
from kumofire_fsm.values.error_text import error_text, text_of
from kumofire_fsm.values.jsontext import argument_bytes, cut, cut_middle, first_line, json_facts
from kumofire_fsm.values.limits import ERROR_BYTES, INLINE_BYTES
from kumofire_fsm.values.printable import printable
from kumofire_fsm.values.times import LAST_MS, duration_ms, instant_ms
from kumofire_fsm.work._decisive import decisive

__all__ = ["Claim", "Ending"]

log = logging.getLogger(__package__)

UNREAD_MS: Final = 10_000
UNREAD_DOUBLED: Final = 2
"""A run whose payload cannot be read comes again after so long, or up to twice that. It doubles so often, and
still is within the horizon then: it keeps its message."""
_OVERHEAD: Final = 400
"""About how many bytes a move adds beside what it carries."""
_STAYS: Final = tuple(name for name in ClaimedRun._fields if name not in ("wake_at", "progress", "body"))
"""Columns that stay as they were claimed while the attempt goes on: no heartbeat changes them."""
_NOTE_LENGTH = 80
_NOTE_BYTES = 160
"""In ASCII JSON at most six times that, and so within `kumofire_fsm.values.limits.FACTS_BYTES`."""


class Ending(NamedTuple):
    """What became of an attempt.

    Attributes:
        move: the event to fire.
        run: the run as it was claimed.
        body: a result too large for the run's row.
        effects: the handler's own statements, to be committed with the move or not at all.
        refused: gives the ending instead when the database refuses them.
        kind: what the body is: a "result", or of a flow its data, the "payload".
        goes_on: whether its claim goes on with another step of a flow once it is stored.
        text: the data of a flow, wherever it is stored.
        drops: whether the data of a flow had a row of its own, and has none from now on.
        done: of a flow, the tasks that are still to be undone, the last first at the end.
    """

    move: Move
    run: ClaimedRun
    body: str | None = None
    effects: Sequence[Statement] = ()
    refused: Callable[[Exception], Ending] | None = None
    kind: str = "result"
    goes_on: bool = False
    text: str = ""
    drops: bool = False
    done: tuple[str, ...] = ()

    def stored(self, body: str) -> Body:
        """Return the large body as it is stored where the move has been made, which enters a flow's step."""
        move, was = self.move, self.run.visit
        visit = None if was is None else was + 1
        return Body(move.id, body, move.claim, move.event, move.now, visit)

    @property
    def statements(self) -> int:
        """How many it adds to the one that settles a set: its own, a large body or its end, an admission."""
        frees = self.run.concurrency_key is not None and not self.goes_on
        return len(self.effects) + (self.body is not None) + self.drops + frees

    @property
    def size(self) -> int:
        """About how many bytes it adds to the argument of a statement, at most of two."""
        return _OVERHEAD + argument_bytes(f"{self.body or self.move.value or ''}{self.move.facts or ''}")


@dataclass(slots=True, eq=False)
class Claim:
    """A claimed run: each method gives one way in which its attempt may end."""

    binding: Binding
    run: ClaimedRun
    definition: Definition
    hint_ms: int | None = None
    """After how long its message counts as lost, which goes on with the run; None where it has no message."""
    shared_platform: bool = True
    """Whether the platform ends this home by an exception that it raises in whatever runs, as Workers do."""

    @property
    def key(self) -> tuple[str, int]:
        """What tells it from every other attempt: its run, and which start of it."""
        return self.run.id, self.run.starts

    def move(self, event: str, **what: Any) -> Move:
        """Return an event to fire on the run, fenced by this attempt's claim."""
        run = self.run
        return self.binding.move(
            run.id, event, starts=run.starts, claim=run.claim, hint_ms=self.hint_ms, **what
        )

    def succeeded(self, value: Any, effects: Sequence[Statement]) -> Ending:
        """Store what the handler returned, together with the SQL that it registered."""
        try:
            text = self.definition.encode_result(value)
        except BaseException as exc:  # also what the application's own types raise
            if self.ends_worker(exc):
                raise
            return self.final(exc)
        if effects and (too_many := self._too_many(effects)):
            return self.final(too_many)
        large = text is not None and len(text) > INLINE_BYTES
        move = self.move("succeed", value="" if large else text)
        refused = self.failed if effects else None
        return Ending(move, self.run, text if large else None, effects, refused)

    def _too_many(self, effects: Sequence[Statement]) -> TooLarge | None:
        most = self.binding.budget.most
        others = AROUND_EFFECTS - 1 + statements_of_claim(self.binding)
        if most is None or len(effects) + others + (self.run.concurrency_key is not None) <= most:
            return None
        said = f"ctx.commit registered {len(effects)} statements; an invocation may send {most} in all"
        return TooLarge(f"{said}: commit fewer, or raise max_statements if your plan allows")

    def raised(self, exc: BaseException) -> Ending:
        """Do what a handler's exception or signal says; of a group, what counts first in it."""
        signal = decisive(exc)[0]
        if isinstance(signal, Fail):
            return self.final(exc)
        if isinstance(signal, Cancel):
            return self.ending("stop", value=cut_middle(text_of(signal), ERROR_BYTES) or None)
        if isinstance(signal, Fire):
            return self.fired(signal)
        return self.snoozed(signal) if isinstance(signal, Snooze) else self.failed(exc)

    def released(self) -> Ending:
        """Give the run back, with its attempt."""
        return Ending(self.move("release"), self.run)

    def unread(self) -> Ending:
        """Give the run back whose payload the database did not give, each time for longer.

        Not for the same time as others beside it: one that cannot be read is not to come with them again.
        """
        given_back = max(0, self.run.starts - self.run.attempt)
        wait_ms = (UNREAD_MS << min(given_back, UNREAD_DOUBLED)) * (1 + self.binding.entropy.random())
        return Ending(self.move("release", next_at=self.binding.now() + round(wait_ms)), self.run)

    def snoozed(self, signal: Snooze) -> Ending:
        """Return the run to the queue for later; the attempt is given back."""
        try:
            until = self._until(signal.until, "Snooze(until=...)")
        except KumofireError as exc:
            return self.failed(exc)
        return self.ending("snooze", next_at=until)

    def fired(self, signal: Fire) -> Ending:
        """Fire the handler's event; one that its machine could leave unanswered is the handler's failure."""
        machine = self.binding.runs.specs[self.run.machine]
        if signal.event == "retry":
            return self.failed(signal)  # with a backoff and an error, as `Retry` has them
        if signal.event not in machine.endings:
            may = ", ".join(machine.endings)
            return self.failed(
                InvalidArgument(
                    f"Fire({signal.event!r}): the handlers of the machine {machine.name!r} may fire {may}"
                )
            )
        try:
            until = self._until(signal.until, "Fire(until=...)")
        except KumofireError as exc:
            return self.failed(exc)
        facts = None if signal.note is None else json_facts(note=cut(str(signal.note), _NOTE_BYTES))
        return Ending(self.move(signal.event, next_at=until, facts=facts), self.run)

    def _until(self, until: datetime | timedelta | float, what: str) -> int:
        """Return an instant, or a time from now, in milliseconds."""
        if isinstance(until, datetime):
            return instant_ms(until, what)
        return self.binding.now() + duration_ms(until, what)

    def failed(self, exc: BaseException) -> Ending:
        """Fire ``retry``, whose edges know whether it is tried again; ``fail`` when the policy says never."""
        try:
            wait = 0 if self._is_last("retry") else self._wait_ms(exc)  # asked only if somebody waits
        except BaseException as broken:
            if self.ends_worker(broken):
                raise
            # what it raised is told below
            log.error("the retry policy of job %r failed", self.run.job, extra=about(self.run))
            return self.final(broken)
        if wait is None:
            return self.final(exc)
        ending = self.ending("retry", error=exc, next_at=self.binding.now() + wait)
        move = ending.move
        last = self._is_last("retry", now=move.now, next_at=move.next_at, value=move.value)
        if last:
            return self._told_final(ending)
        failed = "failed" if last is None else "failed, and is tried again"
        why = first_line(str(move.value), _NOTE_LENGTH)
        told = self.run.id, self.run.job, self.run.attempt, self.run.max_attempts, failed, why
        log.warning("run %s of job %r: attempt %d of %d %s: %s", *told, extra=about(self.run))
        return ending

    def ends_worker(self, exc: BaseException) -> bool:
        """Return whether what the application raised is meant for its worker; see `ends_worker`."""
        return ends_worker(exc, shared_platform=self.shared_platform)

    def _is_last(self, event: str, **given: Any) -> bool | None:
        """Return whether no attempt follows the event; None if its claim and ``given`` do not tell."""
        machine = self.binding.runs.specs[self.run.machine]
        known = {name: getattr(self.run, name) for name in _STAYS}
        ends = {self._gives_up(state) for state in machine.targets({**known, **given}, event)}
        return ends.pop() if len(ends) == 1 else None

    def _gives_up(self, target: str) -> bool:
        """Return whether a failure that leads to this state was the last one: a run is settled there."""
        return self.binding.runs.specs[self.run.machine].has_role(target, Role.SETTLED)

    def _called(self) -> str:
        """Return what the log says that failed."""
        return f"run {self.run.id} of job {self.run.job!r}"

    def _wait_ms(self, exc: BaseException) -> int | None:
        """Return how long to wait after a failure, of several at once the longest; None for never."""
        longest = 0
        for each in decisive(exc):
            wait = self._wait_after(each)
            if wait is None:
                return None
            longest = max(longest, wait)
        return longest

    def _wait_after(self, exc: BaseException) -> int | None:
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
            said = "run %s: %s; the job's own backoff counts"
            log.error(said, self.run.id, unusable, extra=about(self.run))
            return None

    def final(self, exc: BaseException) -> Ending:
        """Fail, whatever attempts are left."""
        return self._told_final(self.ending("fail", error=exc))

    def _told_final(self, ending: Ending) -> Ending:
        why = printable(ending.move.value or "")
        log.error("%s failed for good: %s", self._called(), why, extra=about(self.run))
        return ending

    def ending(
        self,
        event: str,
        *,
        value: str | None = None,
        error: BaseException | None = None,
        next_at: int = 0,
    ) -> Ending:
        """Return the ending that fires an event, with an error as its value if there is one."""
        facts = None
        if error is not None:
            value = error_text(error)
            facts = json_facts(error=first_line(value, _NOTE_LENGTH))
        return Ending(self.move(event, value=value, next_at=next_at, facts=facts), self.run)
