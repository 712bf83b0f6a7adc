"""What must hold of jobs that are paused, limited and have rates or keys, and of what starts before others."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from kumofire_fsm.machines.spec import Role
from kumofire_fsm.values.limits import HEAD_START_MS
from kumofire_fsm.values.rates import Rate, rate_of
from kumofire_fsm.values.times import AHEAD_MS
from simulation.handlers import KEY_LIMITS, KEY_RATES, LIMITS, RATES
from simulation.moves import SPEC, TOLERANCE_MS

__all__ = ["Controls"]


class Controls:
    """Checks starts against what is said of jobs, as the database has it.

    Attributes:
        paused: jobs that were paused at some time: their messages may be acknowledged unserved.
        limited: jobs that were limited at some time: their messages may come back, and another be sent.
    """

    def __init__(self, found: Callable[[str, str], None]) -> None:
        self._found = found
        self.paused: set[str] = set()
        self.limited: set[str] = set(LIMITS)
        self._spoken_for: dict[tuple[str, str | None], int] = {}
        """For each job with a rate, and each key with one, up to when starts are spoken for."""

    def check(
        self,
        said: Mapping[str, tuple[bool, int | None]],
        changed: Mapping[str, tuple[Any, Any]],
        runs: Mapping[str, Any],
    ) -> None:
        """Check what a commit started.

        Args:
            said: for each job whether it is paused, and its limit.
            changed: (before, after) of the runs that changed.
            runs: all runs as they are.
        """
        self.paused |= {job for job, (paused, _) in said.items() if paused}
        self.limited |= {job for job, (_, limit) in said.items() if limit is not None}
        for job in {new.job for _, new in _started(changed)}:
            paused, limit = said.get(job, (False, None))
            if paused:
                self._found("a paused job rests", f"a run of {job!r} was started")
            limit = LIMITS.get(job) if limit is None else limit
            leased = sum(each.job == job and SPEC.has_role(each.state, Role.LEASED) for each in runs.values())
            if limit is not None and leased > limit:
                self._found("within the job's limit", f"{leased} runs of {job!r} are leased, {limit} may be")

    def check_keys(
        self, changed: Mapping[str, tuple[Any, Any]], runs: Mapping[str, Any], decided: int
    ) -> None:
        """Check what a commit started, held back, and ended of concurrency keys.

        What ends an attempt lets another run of its key go on, in the same commit; ``decided`` is the time by
        which who ended it decided that.
        """
        keys = {(new.job, new.concurrency_key) for _, new in changed.values() if new and new.concurrency_key}
        for job, key in keys:
            most = KEY_LIMITS.get(job, len(runs) + 1)
            mine = [run for run in runs.values() if (run.job, run.concurrency_key) == (job, key)]
            leased = sum(SPEC.has_role(run.state, Role.LEASED) for run in mine)
            if leased > most:
                self._found("within the key's limit", f"{leased} runs of {key!r} are leased at once")
            moves = [each for each in changed.values() if each[0] and each[1] in mine]
            for old, new in moves:
                entered = new.state in SPEC.held and old.state not in SPEC.held
                if entered and leased < most and self.turn(job, key, at := _entered_at(new)) <= at:
                    self._found(
                        "held for a reason", f"a run is held, and {leased} runs of {key!r} are leased"
                    )
            left = [
                _entered_at(new)
                for old, new in moves
                if SPEC.has_role(old.state, Role.LEASED) and not SPEC.has_role(new.state, Role.LEASED)
            ]
            # By the time that the move says: one that lands late does not know of turns that came since. Where
            # the clock was ahead then, what it put off is not due now. What has expired waits for nothing more.
            held = left and any(
                run.state in SPEC.held
                and run.run_at <= min(*left, decided)
                and (run.expires_at is None or run.expires_at > max(*left, decided))
                for run in mine
            )
            goes_on = leased or any(SPEC.has_role(run.state, Role.CLAIMABLE) for run in mine)
            if held and not goes_on and job not in KEY_RATES:
                self._found("a key goes on", f"a run of {key!r} has ended, and all others are held")

    def check_rates(self, changed: Mapping[str, tuple[Any, Any]]) -> None:
        """Check that no more runs start than the rates of jobs and keys let, by when they say that they did."""
        for _, new in _started(changed):
            if self._starts_too_early(new, None):
                self._found("within the job's rate", f"a run of {new.job!r} starts before its turn")
            if new.concurrency_key is not None and self._starts_too_early(new, new.concurrency_key):
                told = f"a run of {new.concurrency_key!r} of {new.job!r} starts before its turn"
                self._found("within the key's rate", told)

    def _starts_too_early(self, run: Any, key: str | None) -> bool:
        """Note a start, and return whether the job, or the key, had no allowance left for it."""
        rate = _rate(run.job, key)
        if rate is None:
            return False
        at, before = 1000 * run.started_at, self._spoken_for.get((run.job, key), 0)
        if before > at + rate.every_us * rate.starts + 1000 * AHEAD_MS:
            before = at  # a clock that was ahead has said so
        until = self._spoken_for[run.job, key] = max(before, at) + rate.every_us
        return until > at + rate.every_us * rate.starts

    def turn(self, job: str, key: str | None, now: int) -> int:
        """Return from when on a job, or a key of it, lets the next run start by its rate."""
        rate = _rate(job, key)
        return 0 if rate is None else rate.turn_ms(self._spoken_for.get((job, key), 0), now)

    def used_up(self, job: str, now: int) -> bool:
        """Return whether a job's rate lets none start now: a message returns in time, or another is sent."""
        return self.turn(job, None, now) > now - TOLERANCE_MS

    def check_order(
        self,
        said: Mapping[str, tuple[bool, int | None]],
        changed: Mapping[str, tuple[Any, Any]],
        runs: Mapping[str, Any],
    ) -> None:
        """Check that what a worker left of a job is of no higher priority than what it started of it.

        Unless the class of that has waited for its head start, in a run of any job that may start: then they
        have their turns.
        """
        started = [(old, new) for old, new in _started(changed) if old.suspect < 2]
        if not started:
            return
        now = started[0][1].started_at
        left = [run for run in runs.values() if run.id not in changed and _is_due(run, now)]
        ready = [run for run in left if not said.get(run.job, (False, None))[0]]
        waited = [old for old, _ in changed.values() if old and _is_due(old, now)]
        for job in {new.job for _, new in started}:
            last = max(new.priority for _, new in started if new.job == job)
            of_class = [run.wake_at for run in [*ready, *waited] if run.priority == last]
            fresh = now - min(of_class) < HEAD_START_MS
            if fresh and any(run.job == job and run.priority < last and run.suspect < 2 for run in left):
                self._found(
                    "the higher priority is first", f"a run of {job!r} was left for one of class {last}"
                )


def _rate(job: str, key: str | None) -> Rate | None:
    return rate_of((RATES if key is None else KEY_RATES).get(job))


def _entered_at(run: Any) -> int:
    """Return when a run came into its state, as it says."""
    at: int = json.loads(run.history)[-1][2]
    return at


def _started(changed: Mapping[str, tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    return [(old, new) for old, new in changed.values() if old and new and new.starts > old.starts]


def _is_due(run: Any, now: int) -> bool:
    return SPEC.has_role(run.state, Role.CLAIMABLE) and run.wake_at <= now
