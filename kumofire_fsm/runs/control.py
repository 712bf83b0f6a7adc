"""What people say of a job by its name: pause it, resume it, limit how many of its runs are under way."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.handlers import JobName
from kumofire_fsm.models import JobStatus, priority_of
from kumofire_fsm.store.controls import ControlRow, read_controls, set_control
from kumofire_fsm.values.checks import check_key, facts, whole_number
from kumofire_fsm.values.columns import Columns
from kumofire_fsm.values.limits import LIMIT_MAX
from kumofire_fsm.values.times import moment

__all__ = ["JobControl"]

log = logging.getLogger(__package__)


class JobControl:
    """What an application calls about its jobs: by name, also of one registered elsewhere, handler or flow.

    What is said of a job with aliases is said of all its names.
    """

    _binding: Binding

    async def pause_job(self, name: JobName, *, by: str | None = None, note: str | None = None) -> JobStatus:
        """Start no more runs of a job until `resume_job`, in any process.

        What is under way goes on, and `create` and schedules go on making runs; they wait. Doing it twice is
        harmless.

        Raises:
            InvalidArgument, TooLarge: nothing was changed.
        """
        return await self._say("pause", name, by, note, paused_at=self._binding.now())

    async def resume_job(self, name: JobName, *, by: str | None = None, note: str | None = None) -> JobStatus:
        """Start runs of a job again.

        On Workers a run whose message came in the meantime gets another when the first counts as lost.

        Raises:
            InvalidArgument, TooLarge: nothing was changed.
        """
        return await self._say("resume", name, by, note)

    async def limit_job(
        self, name: JobName, limit: int | None, *, by: str | None = None, note: str | None = None
    ) -> JobStatus:
        """Let at most so many runs of a job be under way at once, over all processes.

        It stands above what ``@app.job(..., limit=)`` says; None takes it back. What is under way goes on.
        Of a paused job `by` and `note` are not kept: who paused it, and why, stays.

        Raises:
            InvalidArgument, TooLarge: nothing was changed.
        """
        slots = None if limit is None else whole_number(limit, "limit", LIMIT_MAX)
        return await self._say("limit", name, by, note, slots=slots)

    async def list_jobs(self) -> list[JobStatus]:
        """Return the jobs registered here, that have runs to do, or of which something is said, by name."""
        return await self._read(list(self._binding.registry.jobs), others=True)

    # -- inside ---------------------------------------------------------------------------------

    async def _say(
        self, what: str, name: JobName, by: str | None, note: str | None, **values: int | None
    ) -> JobStatus:
        binding = self._binding
        names = [check_key(each, "a job's name") for each in binding.registry.names_of(name)]
        facts(by=by, note=note)
        binding.wake()
        said = {"said_by": by, "note": note, "updated_at": binding.now(), **values}
        of_each = [set_control(what, {"job": each, **said}) for each in names]
        await (binding.storage.batch(of_each) if len(of_each) > 1 else binding.storage.execute(of_each[0]))
        return (await self._read([name if isinstance(name, str) else names[0]], others=False))[0]

    async def _read(self, names: Sequence[str], *, others: bool) -> list[JobStatus]:
        binding = self._binding
        specs = list(binding.runs.specs.values())
        rows = await binding.storage.execute(read_controls(specs, names, others=others))
        return [_status(binding, ControlRow(*row)) for row in rows]


def _status(binding: Binding, row: ControlRow) -> JobStatus:
    job = binding.definition(row.job)
    declared = job.limit if job else None
    columns = Columns(row)
    status = JobStatus(
        name=row.job,
        registered=job is not None,
        paused_at=columns.instant("paused_at"),
        limit=declared if row.slots is None else columns.read("slots", _limit, row.slots),
        leased=row.leased,
        waiting=row.waiting,
        held=row.held,
        key_limit=job.key_limit if job else None,
        key_rate=job.key_rate.told() if job and job.key_rate else None,
        by=row.said_by,
        note=row.note,
        changed_at=columns.instant("updated_at"),
        priority=priority_of(job.priority) if job else None,
        rate=job.rate.told() if job and job.rate else None,
        paced_until=columns.read("paced_to", _paced_until, None),
        unreadable=tuple(columns.unreadable),
    )
    if status.unreadable:
        what = ", ".join(status.unreadable)
        log.error("what is said of the job %r cannot be read in: %s; it is shown without", row.job, what)
    return status


def _paced_until(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else moment(microseconds // 1000)


def _limit(slots: int) -> int:
    return whole_number(slots, "limit", LIMIT_MAX)
