"""Tells the observer what moves have done: whom it concerns, by what name, and how long it took."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.reading import is_settled
from kumofire_fsm.errors import KumofireError
from kumofire_fsm.machines.spec import MachineSpec, Role
from kumofire_fsm.observer import Creation
from kumofire_fsm.store.rows import ClaimedRun, Moved

__all__ = ["creating", "tell_claimed", "tell_fired", "tell_settled"]


def creating(binding: Binding, jobs: Iterable[object]) -> Creation:
    """Return what is entered while runs of these jobs are made and stored; a job may stand there often."""
    observer, registry = binding.registry.observer, binding.registry
    if not observer.watches:
        return observer.creating(())
    names = []
    for job in jobs:
        with suppress(KumofireError):  # whoever makes the run says it
            names.append(registry.get(job).name)
    return observer.creating(names)


def tell_settled(binding: Binding, moved: Iterable[Moved]) -> None:
    """Tell of those runs that have settled, and how."""
    for run in moved:
        if is_settled(binding, run.machine, run.state, run.wake_at):
            spec = binding.runs.specs.get(run.machine)
            told = run.state if spec is None else spec.outcome_of(run.state)
            binding.registry.observer.settled(binding.registry.name_of(run.job), told)


def tell_claimed(binding: Binding, runs: Sequence[ClaimedRun], at: int) -> None:
    """Tell how long the runs that a claim started had been due; those that it expired had a deadline."""
    for run in runs:
        spec = binding.runs.specs[run.machine]
        if spec.has_role(run.state, Role.LEASED):
            name = binding.registry.name_of(run.job)
            binding.registry.observer.started(name, max(0, at - run.run_at) / 1000)
        elif spec.has_role(run.state, Role.SETTLED):
            _tell_fired(binding, spec, run.state, spec.with_role(Role.CLAIMABLE))


def tell_fired(binding: Binding, moved: Iterable[tuple[Moved, str | None]]) -> None:
    """Tell which events a sweep fired; what no history notes has kept its state."""
    for run, event in moved:
        spec = binding.runs.specs[run.machine]
        if event is None:
            _tell_fired(binding, spec, run.state, (run.state,))
        else:
            binding.registry.observer.fired(event)


def _tell_fired(binding: Binding, spec: MachineSpec, state: str, sources: Iterable[str]) -> None:
    """Tell the event by which a deadline leads from one of the sources to a state."""
    for each in sources:
        found = spec.state(each)
        for event in found.deadline.fires if found is not None and found.deadline is not None else ():
            if any(edge.target == state for edge in spec.edges_from(each, event)):
                binding.registry.observer.fired(event)
                return
