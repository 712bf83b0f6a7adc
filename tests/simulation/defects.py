"""Defects that a changed statement cannot express: each makes a broken function of the right one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from kumofire_fsm.embedded._lease_trust import LeaseTrust
from kumofire_fsm.errors import QueueError, TransientStoreError
from kumofire_fsm.machines.run import RunMachine
from kumofire_fsm.ports import Statement
from kumofire_fsm.store.rows import Body, ClaimedRun, Move
from kumofire_fsm.store.runs import RunStatements
from kumofire_fsm.work.attempt import Attempt
from simulation.queue import Delivery
from simulation.storage import ActorStorage

__all__ = [
    "always_alone",
    "always_caught_up",
    "at_first",
    "at_once",
    "believed",
    "charged",
    "effects_anyway",
    "endless_lease",
    "final",
    "heard",
    "in_pieces",
    "kept",
    "mixed_up",
    "moved_away",
    "never",
    "refusing",
    "sent_twice",
    "settled_inside",
    "taken_away",
    "trusting",
    "twice",
    "undelayed",
    "undone",
    "unlooked",
    "unmoved",
    "unread",
    "unsaid",
    "unstored",
    "untold",
    "without_drain",
]


def in_pieces(batch: Any) -> Any:
    async def each_alone(self: ActorStorage, statements: Sequence[Statement]) -> Any:
        if any("insert_occurrences" in statement.name for statement in statements):
            return [(await batch(self, [statement]))[0] for statement in statements]
        return await batch(self, statements)

    return each_alone


def unstored(batch: Any) -> Any:
    async def pretend(self: ActorStorage, statements: Sequence[Statement]) -> Any:
        if statements[0].name == "runs.insert":
            rows = [(row[0],) for row in json.loads(statements[0].argument or "")["rows"]]
            return [rows, *([] for _ in statements[1:])]
        return await batch(self, statements)

    return pretend


def settled_inside(batch: Any) -> Any:
    """Count a storage error after a success as the handler's failure."""
    statements_of_runs = RunStatements([RunMachine.spec])

    async def failing(self: ActorStorage, statements: Sequence[Statement]) -> Any:
        try:
            return await batch(self, statements)
        except TransientStoreError:
            if statements[0].name == "runs.succeed":
                moves = [
                    Move(run_id, "retry", starts, claim, now, "it failed", now)
                    for run_id, _, starts, claim, now, *_ in json.loads(statements[0].argument or "")
                ]
                await batch(self, [statements_of_runs.fire(["retry"], moves, fenced=True)])
            raise

    return failing


def endless_lease(batch: Any) -> Any:
    """Tell a consumer that its lease never ends."""
    ends = ("wake_at", "timeout_at")

    async def longer(self: ActorStorage, statements: Sequence[Statement]) -> Any:
        answers = await batch(self, statements)
        if statements[0].name == "runs.claim":
            runs = [ClaimedRun(*row) for row in answers[0]]
            answers[0] = [run._replace(**{end: getattr(run, end) + 10**9 for end in ends}) for run in runs]
        return answers

    return longer


def taken_away(retry: Any) -> Any:
    """Acknowledge a message whose run somebody else works on."""

    def ack_if_leased(self: Delivery, *, delaySeconds: int = 0) -> None:
        run = self._actor.saw.get(self.message.run_id)
        if run is not None and run.claim is not None and run.timeout_at is not None:
            self.ack()
        else:
            retry(self, delaySeconds=delaySeconds)

    return ack_if_leased


def at_once(retry: Any) -> Any:
    """Have a message delivered again at once, however long it is to wait."""

    def without_delay(self: Delivery, *, delaySeconds: int = 0) -> None:
        retry(self, delaySeconds=0)

    return without_delay


def refusing(send_hints: Any) -> Any:
    async def raising(binding: Any, runs: Any) -> Any:
        hints = await send_hints(binding, runs)
        if hints.refused:
            raise QueueError("the queue refused")
        return hints

    return raising


def untold(_seen: Any) -> Any:
    """Keep from an attempt what was asked of its run."""
    return lambda _self, _state: None


def never(duty: Any) -> Any:
    """Leave a duty of the embedded worker undone."""

    async def wait(_: Any) -> None:
        await asyncio.get_running_loop().create_future()

    return wait


def without_drain(drain: Any) -> Any:
    async def leave(_pool: Any, _grace: float) -> None:
        pass

    return leave


def trusting(answer: Any) -> Any:
    """Let every lease end that has run out, whatever was seen."""

    def always(self: LeaseTrust) -> bool:
        answer(self)
        return True

    return always


def unmoved(init: Any) -> Any:
    """Take each time that the clock shows for the time that has passed."""

    def with_one_clock(self: LeaseTrust, lease_ms: int, _wall: Any, monotonic: Any) -> None:
        init(self, lease_ms, lambda: int(monotonic() * 1000), monotonic)

    return with_one_clock


def unlooked(_is_due: Any) -> Any:
    """See nothing to look at."""
    return lambda _: False


def unsaid(renewal: Any) -> Any:
    """Renew a lease as if nobody had set the clock."""

    def without_end(self: Attempt, *args: Any) -> Move:
        move: Move = renewal(self, *args)
        return move._replace(ends_at=None)

    return without_end


def believed(_agreed: Any) -> Any:
    """Believe each occurrence that is stored."""
    return lambda _recurrence, at, *_: at


def undone(_duty: Any) -> Any:
    async def nothing(*_: Any) -> None:
        pass

    return nothing


def heard(_stopped: Any) -> Any:
    """Take it that each handler which is stopped ends."""
    return lambda _self, _attempt: None


def kept(_add: Any) -> Any:
    """Let a handler that ignores its cancellation keep its slot."""
    return lambda _self, _attempt, _stuck: None


def at_first(timed: Any) -> Any:
    """Take the time of a write when it is queued."""

    def fixed(self: Any, make: Any, before: Any = None) -> Statement:
        made: Statement = timed(self, make, before)
        return replace(made, anew=before and made.anew)

    return fixed


def always_alone(claim: Any) -> Any:
    async def alone(*args: Any, **options: Any) -> Any:
        return await claim(*args, **{**options, "alone": True})

    return alone


def always_caught_up(decide: Any) -> Any:
    """Run all that was missed, whatever the schedule says."""

    def decide_for_all(recurrence: Any, due: Any) -> Any:
        return decide(recurrence, replace(due, catch_up="all"))

    return decide_for_all


def moved_away(_keeps_its_recurrence: Any) -> Any:
    """Look for another occurrence at every change of a schedule."""
    return lambda *_: False


def undelayed(_due: Any) -> Any:
    """Start at once what was to be delayed."""
    return lambda _self, _run_at, _delay, now: now


def mixed_up(insert_bodies: Any) -> Any:
    """Store one body for all runs of a statement."""

    def insert_last(self: RunStatements, kind: str, bodies: Sequence[Body]) -> Statement:
        made: Statement = insert_bodies(self, kind, [each._replace(body=bodies[-1].body) for each in bodies])
        return made

    return insert_last


def charged(stopped: Any) -> Any:
    """Count a shutdown as the handler's failure."""

    def failing(self: Attempt, exc: Any) -> Any:
        outcome = stopped(self, exc)
        return self.failed(RuntimeError("stopped")) if self.stop_reason == "shutdown" else outcome

    return failing


def effects_anyway(make: Any) -> Any:
    """Commit what a handler registered before it raised."""

    def with_effects(self: Attempt, *args: Any, **options: Any) -> Any:
        return make(self, *args, **options)._replace(effects=self.context.close())

    return with_effects


def unread(_read_runs: Any) -> Any:
    """Find no run behind a message."""

    async def nothing(_binding: Any, _ids: Any) -> Any:
        return {}

    return nothing


def sent_twice(renewed: Any) -> Any:
    """Send a fresh message beside each that goes on, and keep that too."""

    async def beside(binding: Any, messages: Any, dispositions: Any) -> Any:
        await renewed(binding, [SimpleNamespace(attempts=3) for _ in messages], dispositions)
        return dispositions

    return beside


def final(_failed: Any) -> Any:
    """Give a run up at its first error, whatever attempts are left."""
    return lambda attempt, exc: attempt.final(exc)


def twice(perform: Any) -> Any:
    async def again(self: Attempt, *args: Any, **options: Any) -> Any:
        await perform(self, *args, **options)
        return await perform(self, *args, **options)

    return again
