"""Fires the events that belong to people: cancel, redrive, reschedule, and those that a machine adds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.flow_jobs import REDRIVE, FlowJob
from kumofire_fsm.engine.flow_versions import redrive_settled
from kumofire_fsm.engine.moves import fire_one, startable_by
from kumofire_fsm.engine.reading import read_run, read_runs
from kumofire_fsm.engine.refusals import (
    begins_again_at,
    legal_now,
    refusal,
    refused_by_database,
    unknown_machine,
)
from kumofire_fsm.errors import (
    GuardFailed,
    InvalidArgument,
    InvalidPayload,
    MigrationConflict,
    SchemaMismatch,
    TransitionNotAllowed,
)
from kumofire_fsm.flows.spec import Kind
from kumofire_fsm.flows.steps import Step
from kumofire_fsm.machines.spec import Actor, Role
from kumofire_fsm.models import RunStatus
from kumofire_fsm.runs.creation import RowMaker
from kumofire_fsm.runs.lookup import RunLookup
from kumofire_fsm.values.checks import facts, part_id
from kumofire_fsm.values.ids import check_id
from kumofire_fsm.values.jsontext import storable
from kumofire_fsm.values.limits import MOVE_RUNS
from kumofire_fsm.values.printable import shown

__all__ = ["RunPeople", "adopt_keys", "check_carries", "events_of_people", "jobs_with_versions"]


def events_of_people(binding: Binding) -> set[str]:
    """Return the events that people may fire, of any machine that is known here."""
    return {event for spec in binding.runs.specs.values() for event in spec.events_by(Actor.PERSON)}


async def check_carries(binding: Binding, event: str, run_ids: Sequence[str]) -> None:
    """Refuse to fire a signal without what it carries; only such a signal's name costs a statement.

    Raises:
        InvalidPayload: a run is an instance of a flow whose signal takes something.
    """
    carry = {
        job.name: job.flow.name
        for job in binding.registry.jobs.values()
        if isinstance(job, FlowJob) and (signal := job.flow.signal(event)) and signal.takes is not None
    }
    for start in range(0, len(run_ids) if carry else 0, MOVE_RUNS):
        for row in (await read_runs(binding, run_ids[start : start + MOVE_RUNS])).values():
            if row.job in carry and row.machine.startswith(f"{carry[row.job]}@"):
                what = f"run {row.id}: the signal {event!r} of {row.job!r}"
                how = "send it by jobs.signal or kumofire runs signal"
                raise InvalidPayload(f"{what} carries something: {how}")


async def adopt_keys(binding: Binding, event: str, run_ids: Sequence[str]) -> None:
    """Before an event that may leave a settled state: give back dedupe keys under the jobs' present names."""
    renamed, specs = binding.registry.renamed(), binding.runs.specs.values()
    if renamed and any(
        spec.has_role(edge.source, Role.SETTLED) for spec in specs for edge in spec.edges_of(event)
    ):
        await binding.storage.execute(binding.runs.adopt(list(run_ids), renamed))


def jobs_with_versions(binding: Binding) -> list[FlowJob]:
    """Return the flows that had a version before."""
    return [job for job in binding.registry.jobs.values() if isinstance(job, FlowJob) and job.flow.former]


class RunPeople(RunLookup):
    """What an application calls to say what people say of one run."""

    _rows: RowMaker

    async def cancel(self, run_id: str, *, by: str | None = None, note: str | None = None) -> RunStatus:
        """Stop a run: at once if it has not started, else by telling its handler.

        Doing it twice is harmless, also where a flow's instance undoes what it did. Returns the status.

        Raises:
            UnknownRun: no run has this id.
            TransitionNotAllowed: the run is settled already.
        """
        return await self._people(run_id, "cancel", by=by, note=note, repeatable=True)

    async def redrive(
        self, run_id: str, *, step: str | Step | None = None, by: str | None = None, note: str | None = None
    ) -> RunStatus:
        """Run a failed or canceled run again: fresh attempts, the same id.

        Args:
            run_id: the run.
            step: of a flow's instance: where it goes on, such as ``Order.pack``; None for where it failed.
            by, note: who and why, kept in the history.

        Raises:
            UnknownRun: no run has this id.
            TransitionNotAllowed: the run is neither failed nor canceled.
            GuardFailed: it is a flow's instance at an end: say at which step it goes on.
            MigrationConflict: it is of a flow's version before, and has no place in this one, or data that
                does not fit.
            DedupeConflict: another run holds its dedupe key now.
        """
        name = "" if step is None else part_id(step, "step")
        if name:
            await self._check_step(run_id, name)
        try:
            return await self._people(run_id, REDRIVE, by=by, note=note, to_step=name)
        except SchemaMismatch:
            row = await read_run(self._binding, run_id)
            job = self._flow_after(row.machine)
            if job is None:
                raise
        said = facts(by=by, note=note)
        fired, bad = await redrive_settled(self._binding, job, [run_id], step=name, said=said)
        if run_id in bad:
            raise MigrationConflict(bad[run_id])
        if run_id in fired.refused:
            raise refused_by_database(REDRIVE, row, fired.refused[run_id])
        if run_id not in fired.moved:
            raise await refusal(self._binding, self._binding.move(run_id, REDRIVE))
        return await self._known(run_id)

    async def reschedule(
        self,
        run_id: str,
        *,
        run_at: datetime | None = None,
        delay: timedelta | float | None = None,
        by: str | None = None,
        note: str | None = None,
    ) -> RunStatus:
        """Move a run that has not started to another time.

        Args:
            run_id: the run.
            run_at: not before this aware datetime.
            delay: not before this time from now (timedelta or seconds); instead of run_at.
            by, note: who and why, kept in the history.

        Raises:
            UnknownRun: no run has this id.
            TransitionNotAllowed: the run has started, or is settled.
        """
        if run_at is None and delay is None:
            raise InvalidArgument("reschedule needs run_at or delay")
        due = self._rows.due(run_at, delay, self._binding.now())
        return await self._people(run_id, "reschedule", by=by, note=note, next_at=due)

    async def fire(
        self, run_id: str, event: str, *, by: str | None = None, note: str | None = None
    ) -> RunStatus:
        """Fire an event that belongs to people, such as one that a custom machine adds.

        Args:
            run_id: the run.
            event: its machine's event.
            by, note: who and why, kept in the history.

        Raises:
            UnknownRun: no run has this id.
            TransitionNotAllowed: the event is unknown, illegal now, or fired by consumers or deadlines.
            GuardFailed, Conflict: it did not move.
            InvalidPayload: it is a flow's signal that carries something: `signal` sends it.
        """
        await check_carries(self._binding, event, [check_id(run_id)])
        return await self._people(run_id, event, by=by, note=note)

    # -- inside ---------------------------------------------------------------------------------

    def _flow_after(self, machine: str) -> FlowJob | None:
        """Return the flow that has a machine of a version before; None where none has."""
        return next((job for job in jobs_with_versions(self._binding) if machine in job.flow.former), None)

    async def _check_step(self, run_id: str, step: str) -> None:
        """Refuse a step at which no instance may begin again."""
        row = await read_run(self._binding, check_id(run_id))
        job = self._flow_after(row.machine)
        spec = job.machine if job else self._binding.runs.specs.get(row.machine)
        if spec is None:
            raise SchemaMismatch(f"run {run_id} {unknown_machine(self._binding, row)}")
        steps = begins_again_at(spec)
        if step not in steps:
            known = ", ".join(steps) or "none (no flow)"
            raise InvalidArgument(f"run {run_id} cannot go on at a step {shown(step)}; it may at: {known}")

    async def _people(
        self,
        run_id: str,
        event: str,
        *,
        by: str | None = None,
        note: str | None = None,
        repeatable: bool = False,
        **what: Any,
    ) -> RunStatus:
        binding = self._binding
        await self._check_event(check_id(run_id), event)
        binding.wake()
        await adopt_keys(binding, event, [run_id])
        # Whether a hint follows is for `startable_by` to say, and for the deadline of the state entered.
        move = binding.move(run_id, event, hint_ms=binding.hint_ms, facts=facts(by=by, note=note), **what)
        try:
            await fire_one(binding, move, startable_by(event))
        except TransitionNotAllowed as exc:
            if not (repeatable and self._done(event, exc.state)):
                raise
        except GuardFailed:
            if not (repeatable and await self._is_undoing(run_id)):
                raise
        return await self._known(run_id)

    async def _check_event(self, run_id: str, event: str) -> None:
        storable(event, "an event")
        if event in events_of_people(self._binding):
            return
        known = any(spec.event(event) for spec in self._binding.runs.specs.values())
        why = "is fired by consumers and deadlines only" if known else "is unknown"
        row = await read_run(self._binding, run_id)
        spec = self._binding.runs.specs.get(row.machine)
        if spec is None:
            raise SchemaMismatch(f"run {run_id} {unknown_machine(self._binding, row)}")
        legal = legal_now(spec, row)
        raise TransitionNotAllowed(
            f"run {run_id}: the event {event!r} {why}; people may fire now: {', '.join(legal) or 'nothing'}",
            row_id=run_id,
            event=event,
            state=row.state,
            legal=legal,
        )

    async def _is_undoing(self, run_id: str) -> bool:
        """Return whether a run is a flow's instance that undoes what it has done, or could not."""
        row = await read_run(self._binding, run_id)
        job = self._binding.registry.jobs.get(row.job)
        step = job.flow.step(row.step or "") if isinstance(job, FlowJob) else None
        return step is not None and step.kind is Kind.UNDO

    def _done(self, event: str, state: str) -> bool:
        """Return whether a state is what the event leads to, so that firing it again asks for nothing."""
        specs = self._binding.runs.specs.values()
        return any(edge.target == state for spec in specs for edge in spec.edges_of(event))
