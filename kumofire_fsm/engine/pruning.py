"""Deletes settled runs: those that somebody names by their age, and those whose retention is over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.machines.spec import Role
from kumofire_fsm.store.paces import prune_paces
from kumofire_fsm.store.rows import RunRow
from kumofire_fsm.values.ids import first_id_at
from kumofire_fsm.values.limits import INVOCATION_MS, PRUNE_RUNS

__all__ = ["prune", "prune_all", "prune_kept", "retains"]

_PAGE: Final = 500
"""How many settled runs a look of `prune_all` reads."""


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


async def prune(binding: Binding, before: int, limit: int, also: str | None = None) -> int:
    """Delete up to ``limit`` runs that settled before an instant; return how many.

    Args:
        binding: the application on its database.
        before: the instant, in milliseconds.
        limit: how many.
        also: an id below which it looks too, beside the oldest and the youngest; None for one drawn by lot.
    """
    rules = {"states": dict.fromkeys(_settled(binding), before), "jobs": {}}
    return await _prune(binding, rules, before, limit, also)


async def prune_all(binding: Binding, before: int, limit: int) -> int:
    """Delete every run that settled before an instant, ``limit`` in a transaction; return how many.

    What unsettled runs hide from `prune` is found by a walk over all runs that are older than the instant,
    the newest first.
    """
    deleted, hidden, at = 0, None, first_id_at(max(before, 0))
    while True:
        while number := await prune(binding, before, limit, hidden):
            deleted += number
        found = await _hidden(binding, before, at)
        if found is None:
            return deleted
        at, hidden = found, f"{found}~"


async def _hidden(binding: Binding, before: int, at: str) -> str | None:
    """Return the newest run below an id that settled before an instant, or None."""
    settled, specs = _settled(binding), binding.runs.specs
    while True:
        filters = {"before": at, "states": settled, "limit": _PAGE}
        rows = [RunRow(*row) for *row, _ in await binding.storage.execute(binding.runs.find(filters))]
        for row in rows:
            if row.machine in specs and row.finished_at is not None and row.finished_at < before:
                return row.id
        if not rows:
            return None
        at = rows[-1].id


def _settled(binding: Binding) -> list[str]:
    """Return the settled states of all machines."""
    return sorted({state for spec in binding.runs.specs.values() for state in spec.with_role(Role.SETTLED)})


async def _prune(
    binding: Binding, rules: Mapping[str, Any], young: int, limit: int, also: str | None = None
) -> int:
    below = max(young, 0)
    if (
        also is None
    ):  # any age, from a second to all: so that whatever stands in the way hides nothing for ever
        also = first_id_at(below - int(min(1000 * 2 ** (32 * binding.entropy.random()), below)))
    statements = binding.runs.prune(below=first_id_at(below), also=also, rules=rules, limit=limit)
    if binding.key_rates():
        # A claim says when it was sent, and lands before its invocation ends.
        statements.append(prune_paces(now=binding.now() - INVOCATION_MS, limit=limit))
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
