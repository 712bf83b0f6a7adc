"""Calls what an application wants to know of: functions that run after a transition was committed."""

from __future__ import annotations

import asyncio
import difflib
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from kumofire_fsm.engine.binding import Binding, log
from kumofire_fsm.engine.fire import read_runs
from kumofire_fsm.engine.status import run_status
from kumofire_fsm.errors import DefinitionError, StoreError
from kumofire_fsm.machines.spec import MachineSpec
from kumofire_fsm.models import HistoryEntry, RunStatus
from kumofire_fsm.values.times import moment

if TYPE_CHECKING:
    from kumofire_fsm.jobs import Jobs

__all__ = ["Change", "Hook", "HookFunction", "Transition", "call_hooks", "check_hooks"]

SECONDS: Final = 5.0
"""How long all hooks together may take that one statement's transitions call for: less than a lease lasts
beyond its handler's timeout, because a claim waits for them."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A transition that was committed.

    Attributes:
        event: what was fired.
        before: the state it left; None for a run that was just created.
        state: the state it reached.
        facts: what its history entry notes, such as who fired it (``by``) and why (``note``).
        run: the run, read after the commit; it may have moved on meanwhile.
        jobs: the jobs API.
        env: what the application was opened or bound with.
    """

    event: str
    before: str | None
    state: str
    facts: Mapping[str, Any]
    run: RunStatus
    jobs: Jobs
    env: Any


HookFunction: TypeAlias = Callable[[Transition], Awaitable[None] | None]


class Hook(NamedTuple):
    """A function, and which transitions it is called for: an event's, or those into a state."""

    function: HookFunction
    event: str | None
    state: str | None
    job: str | None


class Change(NamedTuple):
    """A row that a statement moved, and when it did, in milliseconds."""

    run_id: str
    state: str
    job: str
    at: int


def check_hooks(hooks: Iterable[Hook], specs: Iterable[MachineSpec], jobs: Iterable[str]) -> None:
    """Refuse hooks that would never be called.

    Raises:
        DefinitionError: no machine has the event or state, or no job the name.
    """
    specs, names = list(specs), list(jobs)
    moving = {e.event for spec in specs for e in spec.edges if e.source != e.target}
    staying = {e.event for spec in specs for e in spec.edges} - moving
    states = {state.id for spec in specs for state in spec.states}
    for hook in hooks:
        if hook.event in staying:
            raise DefinitionError(f"a hook on {hook.event!r} is never called: that event changes no state")
        _check(hook.event, moving, "event that changes a state")
        _check(hook.state, states, "state")
        _check(hook.job, set(names), "job")


async def call_hooks(binding: Binding, changes: Sequence[Change]) -> None:
    """Call the hooks for what one statement has moved. Never raises: the transitions are committed."""
    hooks = binding.registry.hooks
    wanted = [change for change in changes if any(_may_match(binding, h, change) for h in hooks)]
    if not wanted:
        return
    try:
        async with asyncio.timeout(SECONDS):
            rows = await read_runs(binding, [change.run_id for change in wanted])
            for change in wanted:
                if (row := rows.get(change.run_id)) is not None:
                    await _call_for(binding, change, run_status(binding, row))
    except TimeoutError:
        log.error("the hooks for %d transitions took over %g s; the rest is dropped", len(wanted), SECONDS)
    except StoreError as exc:
        log.error("the hooks for %d transitions are dropped: %s", len(wanted), exc)


async def _call_for(binding: Binding, change: Change, run: RunStatus) -> None:
    made = _find(run.history, change)
    if made is None:
        return
    entry, before = made
    event = entry.event
    transition = Transition(event, before, change.state, entry.facts, run, binding.jobs, binding.env)
    for hook in binding.registry.hooks:
        if hook.job not in (None, run.name) or (hook.event or event, hook.state or change.state) != (
            event,
            change.state,
        ):
            continue
        try:
            outcome = hook.function(transition)
            if inspect.isawaitable(outcome):
                await outcome
        except (Exception, asyncio.CancelledError) as exc:
            task = asyncio.current_task()
            if isinstance(exc, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # we are cancelled ourselves, or out of time
            log.exception("a hook on run %s failed; its transition %r stands", change.run_id, event)


def _find(history: Sequence[HistoryEntry], change: Change) -> tuple[HistoryEntry, str | None] | None:
    """Return the entry of what the statement fired, and the state before; a self-loop leaves none."""
    at = moment(change.at)
    for place in range(len(history) - 1, -1, -1):
        entry = history[place]
        if (entry.state, entry.at) == (change.state, at):
            return entry, history[place - 1].state if place else None
    return None


def _may_match(binding: Binding, hook: Hook, change: Change) -> bool:
    if hook.job not in (None, change.job) or hook.state not in (None, change.state):
        return False
    definition = binding.definition(change.job)
    if hook.event is None or definition is None:
        return True
    return any(edge.target == change.state for edge in definition.machine.edges_of(hook.event))


def _check(name: str | None, known: Iterable[str], what: str) -> None:
    if name is None or name in set(known):
        return
    close = difflib.get_close_matches(name, sorted(known), 1)
    hint = f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(sorted(known)) or 'none'}"
    raise DefinitionError(f"a hook names {name!r}, but there is no such {what}{hint}")
