"""Consumes queue messages: claims the runs they hint at, calls the handlers, settles the outcomes.

Whatever happens, each message ends in a verdict: acknowledged when the database holds what follows,
retried otherwise. A message is never acknowledged away while its run may still need it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kumofire_fsm.attempt import Attempt, Outcome, release
from kumofire_fsm.binding import Binding, log
from kumofire_fsm.claiming import claim_hinted
from kumofire_fsm.errors import InvalidMessage, StoreError
from kumofire_fsm.fire import Moved, read_runs
from kumofire_fsm.limits import QUEUE_DELAY_S
from kumofire_fsm.machines.spec import Role
from kumofire_fsm.message import read_message
from kumofire_fsm.settle import settle
from kumofire_fsm.store.runs import ClaimedRun, RunRow

__all__ = ["Consumer", "Verdict"]

SETTLE_EVERY: Final = 25
"""Outcomes that are settled by one statement."""
UNKNOWN_JOB_S: Final = 60
"""After how many seconds a message for a job that is not known here is delivered again."""
STORE_ERROR_S: Final = 10


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a message.

    Attributes:
        run_id: the run it hints at; None when it could not be read.
        ack: whether it is acknowledged; else it is retried after ``delay_s`` seconds.
        reason: why, for logs.
    """

    run_id: str | None
    ack: bool
    delay_s: int = 0
    reason: str = ""


class Consumer:
    """Consumes messages for a binding."""

    def __init__(self, binding: Binding, jobs: Any) -> None:
        self._binding, self._jobs = binding, jobs

    async def consume(self, message: Any) -> Verdict:
        """Consume one message, or one bare body.

        Raises:
            InvalidMessage: a bare body is not one of ours; a message with ``retry`` is retried instead,
                so that it ends in the dead-letter queue.
        """
        verdicts = await self.consume_batch([message])
        if verdicts[0].run_id is None and not hasattr(message, "retry"):
            read_message(getattr(message, "body", message))
        return verdicts[0]

    async def consume_batch(self, batch: Any) -> list[Verdict]:
        """Consume a batch (anything with ``messages``, or a list), and ack or retry each message."""
        messages = list(getattr(batch, "messages", batch))
        verdicts = [self._read(message) for message in messages]
        ids = list(dict.fromkeys(v.run_id for v in verdicts if v.run_id is not None))
        try:
            by_run = await self._work(ids)
        except StoreError as exc:
            log.error("the database failed a claim (%s); the messages are delivered again", exc)
            by_run = {}
        final = [by_run.get(v.run_id, v) if v.run_id else v for v in verdicts]
        for message, verdict in zip(messages, final, strict=True):
            _conclude(message, verdict)
        return final

    def _read(self, message: Any) -> Verdict:
        """Return the verdict that stands if nothing else is found out."""
        try:
            run_id = read_message(getattr(message, "body", message))
        except InvalidMessage as exc:
            log.error("%s", exc)
            return Verdict(None, ack=False, reason=str(exc))
        return Verdict(run_id, ack=False, delay_s=STORE_ERROR_S, reason="the database failed")

    async def _work(self, ids: Sequence[str]) -> dict[str, Verdict]:
        if not ids:
            return {}
        claimed = await claim_hinted(self._binding, ids, alone=len(ids) == 1)
        verdicts = await self._run_all(claimed)
        rest = [run_id for run_id in ids if run_id not in {run.id for run in claimed}]
        if rest:
            rows = await read_runs(self._binding, rest)
            for run_id in rest:
                row = rows.get(run_id)
                if row is not None and row.suspect and self._startable(row):
                    # It was under way when a shared claim was lost: it starts alone, or not at all.
                    alone = await claim_hinted(self._binding, [run_id], alone=True)
                    verdicts |= await self._run_all(alone)
                if run_id not in verdicts:
                    verdicts[run_id] = self._idle(run_id, row)
        return verdicts

    async def _run_all(self, runs: Iterable[ClaimedRun]) -> dict[str, Verdict]:
        """Call the handlers one after the other; settle in groups."""
        verdicts: dict[str, Verdict] = {}
        done: list[Outcome] = []
        covered = 0  # until when the leases of what is not yet settled hold
        for run in runs:
            ends = self._binding.now() + self._binding.registry.get(run.job).timeout_ms
            if done and (len(done) >= SETTLE_EVERY or covered < ends <= run.wake_at):
                verdicts |= await self._settle(done)
                done, covered = [], 0
            done.append(await self._perform(run))
            covered = min(covered or run.wake_at, run.wake_at)
        return verdicts | (await self._settle(done) if done else {})

    async def _perform(self, run: ClaimedRun) -> Outcome:
        binding = self._binding
        definition = binding.registry.get(run.job)
        if run.wake_at < binding.now() + definition.timeout_ms:
            return release(run, binding.now())  # the lease no longer covers its timeout
        attempt = Attempt(binding, run, definition, self._jobs)
        outcome = await attempt.perform_within_timeout()
        return outcome or release(run, binding.now())

    async def _settle(self, outcomes: Sequence[Outcome]) -> dict[str, Verdict]:
        try:
            moved = await settle(self._binding, outcomes)
        except StoreError as exc:
            log.error("the database failed to settle %d runs: %s", len(outcomes), exc)
            reason = "the outcome could not be stored; the lease will run out"
            ids = [outcome.move.run_id for outcome in outcomes]
            return {i: Verdict(i, ack=False, delay_s=STORE_ERROR_S, reason=reason) for i in ids}
        ids = [outcome.move.run_id for outcome in outcomes]
        return {run_id: self._after(run_id, moved.get(run_id)) for run_id in ids}

    def _after(self, run_id: str, moved: Moved | None) -> Verdict:
        """Acknowledge what is settled; a run that goes on soon takes its message along."""
        if moved is None:
            return Verdict(run_id, ack=True, reason="another attempt owns the run")
        definition = self._binding.definition(moved.job)
        if definition is None or not definition.machine.has_role(moved.state, Role.CLAIMABLE):
            return Verdict(run_id, ack=True, reason=moved.state)
        wait = moved.run_at - self._binding.now()
        if wait > self._binding.timing.horizon_ms:
            return Verdict(run_id, ack=True, reason=f"{moved.state}; the dispatcher sends it again")
        return Verdict(run_id, ack=False, delay_s=_seconds(wait), reason=moved.state)

    def _startable(self, row: RunRow) -> bool:
        definition, now = self._binding.definition(row.job), self._binding.now()
        claimable = definition is not None and definition.machine.has_role(row.state, Role.CLAIMABLE)
        return claimable and row.run_at <= now

    def _idle(self, run_id: str, row: RunRow | None) -> Verdict:
        """Return the verdict on a message whose run was not claimed."""
        if row is None:
            log.warning("a message names run %s, which does not exist", run_id)
            return Verdict(run_id, ack=True, reason="no such run")
        spec, now = self._binding.runs.specs.get(row.machine), self._binding.now()
        if spec is None or self._binding.definition(row.job) is None:
            log.warning("run %s is of job %r, which is not known here", run_id, row.job)
            return Verdict(run_id, ack=False, delay_s=UNKNOWN_JOB_S, reason="unknown job")
        if spec.has_role(row.state, Role.SETTLED):
            return Verdict(run_id, ack=True, reason=f"{row.state} already")
        if spec.has_role(row.state, Role.WAITING):
            return Verdict(run_id, ack=True, reason=f"{row.state}; nothing to start")
        leased = spec.has_role(row.state, Role.LEASED)
        if not leased and row.expires_at is not None and row.expires_at <= now:
            return Verdict(run_id, ack=True, reason="expired; the dispatcher cancels it")
        until = row.wake_at if leased and row.wake_at is not None else row.run_at
        why = "another attempt holds its lease" if leased else "not due"
        return Verdict(run_id, ack=False, delay_s=_seconds(until - now), reason=why)


def _seconds(milliseconds: int) -> int:
    return min(QUEUE_DELAY_S, max(1, -(-milliseconds // 1000)))


def _conclude(message: Any, verdict: Verdict) -> None:
    if verdict.ack and hasattr(message, "ack"):
        message.ack()
    elif not verdict.ack and hasattr(message, "retry"):
        message.retry(delaySeconds=verdict.delay_s)
