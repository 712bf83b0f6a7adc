"""Deletes settled runs: those that somebody names by their age, and those whose retention is over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.machines.spec import Role
from kumofire_fsm.store.paces import prune_paces
from kumofire_fsm.values.ids import first_id_at
from kumofire_fsm.values.limits import PRUNE_RUNS

__all__ = ["prune", "prune_kept", "retains"]


def retains(binding: Binding) -> bool:
    """Return whether any run is kept for a time only."""
    return bool(_kept(binding))


async def prune_kept(binding: Binding) -> int:
    """Delete up to `PRUNE_RUNS` runs whose retention is over; return how many.

    Each call begins at the age of one retention, drawn by lot, so that what is kept for long hides nothing.
    """
    now, kept = binding.now(), _kept(binding)
    ages = sorted({age for of in kept.values() for age in of.values() if age is not None})
    if not ages:
        return 0
    younger = ages[min(int(binding.entropy.random() * len(ages)), len(ages) - 1)]
    before = {
        job: {state: None if age is None else now - age for state, age in of.items()}
        for job, of in kept.items()
    }
    jobs = {job: of for job, of in before.items() if job}
    return await _prune(binding, {"states": before.get("", {}), "jobs": jobs}, now - younger, PRUNE_RUNS)


async def prune(binding: Binding, before: int, limit: int) -> int:
    """Delete up to ``limit`` runs that settled before an instant; return how many."""
    settled = {
        state: before for spec in binding.runs.specs.values() for state in spec.with_role(Role.SETTLED)
    }
    return await _prune(binding, {"states": settled, "jobs": {}}, before, limit)


async def _prune(binding: Binding, rules: Mapping[str, Any], young: int, limit: int) -> int:
    below = max(young, 0)
    # Any age, from a second to all: so that whatever stands in the way hides nothing for ever.
    also = first_id_at(below - int(min(1000 * 2 ** (32 * binding.entropy.random()), below)))
    statements = binding.runs.prune(below=first_id_at(below), also=also, rules=rules, limit=limit)
    if binding.key_rates():
        statements.append(prune_paces(now=binding.now(), limit=limit))
    answers = await binding.storage.batch(statements)
    return len(answers[1])


def _kept(binding: Binding) -> dict[str, dict[str, int | None]]:
    """Return how long each settled state's runs are kept: by a job's names, and under "" of all others."""
    registry, kept = binding.registry, dict[str, dict[str, int | None]]()
    if registry.retention is not None:
        for spec in binding.runs.specs.values():
            kept.setdefault("", {}).update(registry.retention.of(spec))
    for name, job in registry.names.items():
        if job.retention is not None:
            kept[name] = dict(job.retention.of(job.machine))
    return kept
