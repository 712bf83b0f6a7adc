"""Fires the events that belong to people: cancel, redrive, reschedule, and those that a machine adds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.moves import fire_one, startable
from kumofire_fsm.engine.reading import read_run
from kumofire_fsm.errors import InvalidArgument, TransitionNotAllowed
from kumofire_fsm.flows.steps import Step
from kumofire_fsm.machines.spec import Actor, Role
from kumofire_fsm.models import RunStatus
from kumofire_fsm.runs.creation import RowMaker
from kumofire_fsm.runs.lookup import RunLookup
from kumofire_fsm.values.checks import facts, part_id
from kumofire_fsm.values.ids import check_id
from kumofire_fsm.values.jsontext import storable
from kumofire_fsm.values.printable import shown

__all__ = ["RunPeople", "adopt_keys", "events_of_people"]


def events_of_people(binding: Binding) -> set[str]:
    """Return the events that people may fire, of any machine that is known here."""
    return {event for spec in binding.runs.specs.values() for event in spec.events_by(Actor.PERSON)}


async def adopt_keys(binding: Binding, event: str, run_ids: Sequence[str]) -> None:
    """Before an event that may leave a settled state: give back dedupe keys under the jobs' present names."""
    renamed, specs = binding.registry.renamed(), binding.runs.specs.values()
    if renamed and any(
        spec.has_role(edge.source, Role.SETTLED) for spec in specs for edge in spec.edges_of(event)
    ):
        await binding.storage.execute(binding.runs.adopt(list(run_ids), renamed))


class RunPeople(RunLookup):
    """What an application calls to say what people say of one run."""

    _rows: RowMaker

    async def cancel(self, run_id: str, *, by: str | None = None, note: str | None = None) -> RunStatus:
        """Stop a run: at once if it has not started, else by telling its handler.

        Doing it twice is harmless. Returns the run's status.

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
            DedupeConflict: another run holds its dedupe key now.
        """
        if step is None:
            return await self._people(run_id, "redrive", by=by, note=note)
        row = await read_run(self._binding, check_id(run_id))
        spec, name = self._binding.runs.specs.get(row.machine), part_id(step, "step")
        if spec is None or ("*", name) not in spec.steps:
            known = ", ".join(sorted(to for source, to in spec.steps if source == "*")) if spec else ""
            raise InvalidArgument(
                f"run {run_id} cannot go on at a step {shown(name)}; it may at: {known or 'none (no flow)'}"
            )
        return await self._people(run_id, "redrive", by=by, note=note, to_step=name)

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
        """
        return await self._people(run_id, event, by=by, note=note)

    # -- inside ---------------------------------------------------------------------------------

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
        # Whether a hint follows is for `startable` to say, and for the deadline of the state that is entered.
        move = binding.move(run_id, event, hint_ms=binding.hint_ms, facts=facts(by=by, note=note), **what)
        try:
            await fire_one(binding, move, startable)
        except TransitionNotAllowed as exc:
            if not (repeatable and self._done(event, exc.state)):
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
        legal = spec.legal(row.state, Actor.PERSON) if spec else ()
        raise TransitionNotAllowed(
            f"run {run_id}: the event {event!r} {why}; people may fire now: {', '.join(legal) or 'nothing'}",
            row_id=run_id,
            event=event,
            state=row.state,
            legal=legal,
        )

    def _done(self, event: str, state: str) -> bool:
        """Return whether a state is what the event leads to, so that firing it again asks for nothing."""
        specs = self._binding.runs.specs.values()
        return any(edge.target == state for spec in specs for edge in spec.edges_of(event))
