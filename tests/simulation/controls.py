"""What must hold of jobs that people pause and limit: no run starts beyond what they say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kumofire_fsm.machines.spec import Role
from simulation.handlers import LIMITS
from simulation.moves import SPEC

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
        for job in {new.job for old, new in changed.values() if old and new and new.starts > old.starts}:
            paused, limit = said.get(job, (False, None))
            if paused:
                self._found("a paused job rests", f"a run of {job!r} was started")
            limit = LIMITS.get(job) if limit is None else limit
            leased = sum(each.job == job and SPEC.has_role(each.state, Role.LEASED) for each in runs.values())
            if limit is not None and leased > limit:
                self._found("within the job's limit", f"{leased} runs of {job!r} are leased, {limit} may be")
