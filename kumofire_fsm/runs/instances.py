"""What is said of a flow's instances alone: signals, and the way to a later version."""

from __future__ import annotations

import json
from typing import Any

from kumofire_fsm.engine.flow_jobs import FlowJob, signal_text
from kumofire_fsm.engine.flow_versions import FlowPlan, migrate_flow, plan_flow
from kumofire_fsm.engine.moves import fire_one, startable_by
from kumofire_fsm.engine.reading import read_run
from kumofire_fsm.engine.refusals import unknown_machine
from kumofire_fsm.errors import GuardFailed, MailFull, UnknownSignal
from kumofire_fsm.flows.steps import Signal
from kumofire_fsm.models import RunStatus
from kumofire_fsm.runs.lookup import RunLookup
from kumofire_fsm.values.checks import check_key, facts, part_id
from kumofire_fsm.values.ids import check_id
from kumofire_fsm.values.limits import MAIL_LETTERS

__all__ = ["RunInstances"]


class RunInstances(RunLookup):
    """What an application calls about flows."""

    async def signal(
        self,
        run_id: str,
        signal: Signal | str,
        value: Any = None,
        *,
        key: str | None = None,
        by: str | None = None,
        note: str | None = None,
    ) -> RunStatus:
        """Tell a flow's instance something: it moves a wait that accepts it, or is kept until one does.

        Args:
            run_id: the instance.
            signal: the flow's signal, such as ``Order.approve``, or its name.
            value: what it carries, as the signal's model takes it.
            key: a signal with a key that came already does nothing; of the last 50 keys.
            by, note: who and why, kept in the history where it moves the instance.

        Returns:
            The instance's status afterwards.

        Raises:
            UnknownRun: no run has this id.
            UnknownSignal: its flow has no such signal, or it is of no flow that is known here.
            InvalidPayload: the value does not fit.
            MailFull: 50 signals are kept already that no wait has taken.
            TransitionNotAllowed: the instance is settled.
        """
        row = await read_run(self._binding, check_id(run_id))
        name = part_id(signal, "signal")
        if row.machine not in self._binding.runs.specs:
            raise UnknownSignal(f"run {run_id} {unknown_machine(self._binding, row)}")
        text = signal_text(self._binding.registry.jobs.get(row.job), row.machine, name, value)
        self._binding.wake()
        said = None if key is None else check_key(key, "key")
        move = self._binding.move(
            run_id,
            name,
            value=text,
            signal_key=said,
            hint_ms=self._binding.hint_ms,
            facts=facts(by=by, note=note),
        )
        try:
            await fire_one(self._binding, move, startable_by(name))
        except GuardFailed as exc:
            if not await self._has_key(run_id, said):
                raise MailFull(run_id, MAIL_LETTERS) from exc
        return await self._known(run_id)

    async def plan_flows(self) -> list[FlowPlan]:
        """Return what `migrate_flows` would do with instances of versions before; nothing is changed."""
        return [await plan_flow(self._binding, job) for job in self._flow_jobs()]

    async def migrate_flows(self) -> int:
        """Bring the instances of versions before that rest to the versions of this code; return how many.

        What is under way is left: call it again. Other processes may work meanwhile, with the code of either
        version.

        Raises:
            MigrationConflict: an instance has nowhere to go, or data that does not fit; `plan_flows` says
                so before.
        """
        moved = 0
        for job in self._flow_jobs():
            moved += await migrate_flow(self._binding, job)
        self._binding.wake()
        return moved

    def _flow_jobs(self) -> list[FlowJob]:
        return [job for job in self._binding.registry.jobs.values() if isinstance(job, FlowJob)]

    async def _has_key(self, run_id: str, key: str | None) -> bool:
        """Return whether an instance has a signal with this key already."""
        rows = await self._binding.storage.execute(self._binding.runs.keys(run_id))
        return key is not None and any(key in json.loads(keys or "[]") for (keys,) in rows)
