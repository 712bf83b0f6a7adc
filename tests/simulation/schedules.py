"""What recurring jobs and their occurrences must be like: none lost, none doubled, none at a wrong time."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from kumofire_fsm.calendar.decision import CATCH_UP, COUNTED
from kumofire_fsm.calendar.recurrence import GRACE_MS
from kumofire_fsm.machines.job import JobMachine
from kumofire_fsm.machines.spec import Role
from kumofire_fsm.values.times import AHEAD_MS
from simulation.moves import SPEC, STOPPING, Found

if TYPE_CHECKING:
    from simulation.calls import Call
    from simulation.world import World

__all__ = ["Schedules"]

OVERDUE_MS: Final = 90_000
"""Without faults a job is advanced sooner: with the next tick, or by the next sweep of a worker."""
LOOKED_AT: Final = 10
"""Of how many of the latest runs a policy of overlaps knows; see docs/schedules.md."""
_JOB: Final = JobMachine.spec
_POLICIES: Final = ("jitter_ms", "misfire", "grace_ms", "overlap")


class Schedules:
    """Checks changes of jobs, and the runs of occurrences.

    Args:
        world: whose clock may have been set.
        runs: all runs as they are.
        found: called with a violation.
    """

    def __init__(self, world: World, runs: Mapping[str, Any], found: Found) -> None:
        self._world, self._runs, self._found = world, runs, found

    def check_occurrences(self, call: Call, runs: dict[str, Any], jobs: dict[str, Any]) -> None:
        """Check the runs of a call against those of other occurrences, and against their jobs."""
        made = {run_id for run_id, (before, _) in runs.items() if before is None}
        taken: dict[tuple[str, int], str] = {}
        for run in self._runs.values():
            if run.schedule_id is None:
                continue
            other = taken.setdefault((run.schedule_id, run.scheduled_for), run.id)
            if other != run.id:
                self._found("one run an occurrence", f"{other} and {run.id} are of one occurrence")
        for run_id, (before, after) in runs.items():
            if before is not None or after.schedule_id is None:
                continue
            _, job = jobs.get(after.schedule_id, (None, None))
            if job is None or job.last_at is None or after.scheduled_for > job.last_at:
                self._found("an occurrence moves its job", f"{run_id} came without its job's move")
            else:
                self._check_overlap(call, after, json.loads(job.schedule).get("overlap", "allow"), made)

    def _check_overlap(self, call: Call, new: Any, policy: str, beside: Container[str]) -> None:
        """Check what a policy says of the latest runs before one; what a person redrove it may not have seen.

        Args:
            call: made it.
            new: the run.
            policy: what its job says of overlaps.
            beside: the runs that came with it.
        """
        if policy == "allow":
            return
        others = [run for run in self._runs.values() if run.schedule_id == new.schedule_id]
        until = max(new.scheduled_for, call.decided)
        read = [run for run in others if run.id not in beside and run.scheduled_for < until]
        latest = sorted(read, key=lambda run: run.scheduled_for)[-LOOKED_AT:]
        for run in (*latest, *(run for run in others if run.id in beside)):
            if run.scheduled_for >= new.scheduled_for or "redrive" in run.history:
                continue
            stopping = policy == "cancel_previous" and run.state in STOPPING
            if not SPEC.has_role(run.state, Role.SETTLED) and not stopping:
                self._found(
                    "overlaps as it says", f"{new.id} came by {policy!r} while {run.id} is {run.state}"
                )

    def check_job(self, call: Call, before: Any, after: Any, changed: Mapping[str, Any]) -> None:
        """Check one change of one job; ``before`` is None for an insert, as with the runs of the commit."""
        if _JOB.state(after.state).wakes != (after.wake_at is not None):
            self._found("a deadline until settled", f"schedule in {after.state}: wake_at is {after.wake_at}")
        if after.state == next(edge.target for edge in _JOB.edges_of("suspend")):
            self._found("nothing needs a hand", f"a schedule was set aside: {after.error}")
        if before is None:
            return
        events = self._walk(before, after)
        back = before.next_at is not None and after.next_at is not None and after.next_at < before.next_at
        if back and _rule(before) == _rule(after):
            self._check_correction(call, before, after)
            return
        ruled_anew = "revise" in events
        same_rule = before.state == after.state and _rule(before) == _rule(after)
        if ruled_anew and same_rule and before.next_at != after.next_at:
            text = f"a change of something else moved it from {before.next_at} to {after.next_at}"
            self._found("no occurrence is lost", f"schedule: {text}")
        if not ruled_anew and before.next_at is not None and after.next_at is not None:
            self._check_advance(call, before, after, changed)

    def check_overdue(self, jobs: Iterable[Any], now: int) -> None:
        """Check jobs when nothing has failed for some time: none has been due for long, or waits too long.

        With "queue" one occurrence waits for another, and a job may lag behind for ever.
        """
        for job in jobs:
            if job.wake_at is None or job.created_at > now + AHEAD_MS:
                continue  # what a clock that was ahead created begins when it is that late
            if job.wake_at < now - OVERDUE_MS and json.loads(job.schedule).get("overlap") != "queue":
                self._found("no occurrence is lost", f"schedule: due for {now - job.wake_at} ms already")
            held_too_long = job.wake_at > max(job.next_at, now + _interval(job) + AHEAD_MS)
            if held_too_long or self._passes_by(job, now + AHEAD_MS):
                self._found("the next occurrence is of the rule", f"schedule: due in {job.wake_at - now} ms")

    def _check_correction(self, call: Call, before: Any, after: Any) -> None:
        """Check a job whose next occurrence became an earlier one: the stored one cannot have been right."""
        text = f"schedule: moved back from {before.next_at} to {after.next_at} at {call.decided}"
        if not self._world.sets or before.next_at <= call.decided + _interval(before):
            self._found("the next occurrence is of the rule", f"{text}, although nobody had set the clock")
        # One between may have been made, or passed over, by a clock that was a little ahead.
        if self._passes_by(after, max(call.decided, after.last_at or 0, after.skipped_at or 0)):
            self._found("the next occurrence is of the rule", f"{text}, and not to the next one")

    def _passes_by(self, job: Any, after: int) -> bool:
        """Return whether an occurrence later than that, and earlier than a job's next one, is no run yet.

        Those that a clock made which was ahead are runs: an occurrence never becomes a second one.
        """
        apart = _interval(job)
        made = {run.scheduled_for for run in self._runs.values() if run.schedule_id == job.id}
        return any(at not in made for at in range(job.next_at - apart, after, -apart))

    def _walk(self, before: Any, after: Any) -> list[str]:
        """Follow the new entries of the history along the machine's edges; return their events."""
        entries = json.loads(after.history)[len(json.loads(before.history)) :]
        state = before.state
        for event, target, *_ in entries:
            if not any(edge.target == target for edge in _JOB.edges_from(state, event)):
                self._found("legal edges", f"schedule: {event} from {state} to {target}")
            state = target
        if state != after.state:
            self._found("history is contiguous", f"schedule in {after.state}: history ends in {state}")
        return [event for event, *_ in entries]

    def _check_advance(self, call: Call, before: Any, after: Any, changed: Mapping[str, Any]) -> None:
        """Check that each occurrence that a job leaves behind became a run, or is counted as skipped.

        What a clock made before which was ahead makes no other run, and yet counts as what comes of it now.
        """
        skipped, rule = after.skipped - before.skipped, json.loads(before.schedule)
        runs = [run for run in self._runs.values() if run.schedule_id == after.id and run.scheduled_for]
        if before.last_at != after.last_at:
            if not before.next_at <= after.last_at <= call.actor.latest():
                self._found(
                    "advanced when due", f"schedule: {before.next_at} was due, {after.last_at} became a run"
                )
            if all(run.scheduled_for != after.last_at for run in runs):
                self._found("no occurrence is lost", f"schedule: {after.last_at} counts as run without a run")
        passed = (after.next_at - before.next_at) // _interval(before)
        there = [run for run in runs if before.next_at <= run.scheduled_for < after.next_at]
        made = [(r.scheduled_for, r.created_at) for r in there if changed.get(r.id, (r,))[0] is None]
        counts = after.made - before.made
        counted = counts + skipped
        at_least = "cron" in rule and passed > COUNTED and COUNTED <= counted <= passed
        if not len(made) <= counts <= len(there) or (counted != passed and not at_least):
            text = f"of {passed} occurrences from {before.next_at}, {made} became runs, {skipped} skipped"
            self._found("no occurrence is lost", f"schedule: {text}, and {counts} count as made")
        if before.state == after.state and rule.get("overlap", "allow") == "allow" and counts == len(made):
            self._check_misfires(before, rule, made, skipped)

    def _check_misfires(
        self, before: Any, said: Mapping[str, Any], made: Sequence[tuple[int, int]], skipped: int
    ) -> None:
        """Check what a job whose runs may overlap makes of occurrences that were noticed too late.

        Args:
            before: the job before it advanced.
            said: its schedule.
            made: what became runs: the occurrences, and when each was created.
            skipped: how many occurrences were passed over.
        """
        policy = before.catch_up or said.get("misfire", "latest")
        looked = max((now for _, now in made), default=None)
        edge = None
        if looked is not None:
            edge = looked + 1 if before.catch_up else looked - said.get("grace_ms", GRACE_MS)
        if edge is None:
            wrong = skipped > 0 and policy != "skip"
        elif before.next_at >= edge or policy == "all":
            wrong = skipped > 0 and len(made) < CATCH_UP
        else:
            wrong = len(made) != 1 if policy == "latest" else min(made)[0] < edge
        if wrong:
            text = f"by {policy!r} from {before.next_at} came runs of {made}, and {skipped} are passed over"
            self._found("misfires as it says", f"schedule: {text}; those before {edge} were missed")


def _interval(job: Any) -> int:
    """Return how far two occurrences of a job are apart, in milliseconds; its expression fires each minute."""
    apart: int = json.loads(job.schedule).get("every_ms", 60_000)
    return apart


def _rule(job: Any) -> dict[str, Any]:
    """Return when a job has occurrences, without what it makes of them."""
    said = json.loads(job.schedule)
    return {key: said[key] for key in said if key not in _POLICIES}
