"""Calls what an application wants to know of: functions that run after a transition was committed."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.ends import ends_worker
from kumofire_fsm.engine.own_task import OwnTask
from kumofire_fsm.engine.reading import RUNS_AT_ONCE, InTurn, read_runs
from kumofire_fsm.errors import DefinitionError, StoreError
from kumofire_fsm.jobs import Jobs
from kumofire_fsm.machines.spec import MachineSpec
from kumofire_fsm.models import HistoryEntry, RunStatus
from kumofire_fsm.runs.status import run_status
from kumofire_fsm.store.rows import LEFT_OUT, Moved
from kumofire_fsm.values.error_text import logged
from kumofire_fsm.values.printable import did_you_mean
from kumofire_fsm.values.times import moment
from kumofire_fsm.work.calls import not_awaited
from kumofire_fsm.work.lifespan import for_one_event
from kumofire_fsm.work.sync import noted

__all__ = ["Hook", "HookFunction", "Transition", "call_hooks", "check_hooks"]

log = logging.getLogger(__name__)

SECONDS: Final = 5.0
"""How long all hooks together may take that one statement's transitions call for: less than a lease lasts
beyond its handler's timeout, because a claim waits for them."""
_CREATE: Final = "create"
"""What a run's history says of its creation: an event of no machine."""


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
        env: what its lifespan yielded, or what it was opened or bound with.
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


def check_hooks(hooks: Iterable[Hook], jobs: Mapping[str, MachineSpec]) -> None:
    """Refuse hooks that would never be called.

    Args:
        hooks: what the application registered.
        jobs: the machines of its jobs, by name.

    Raises:
        DefinitionError: there is no such job, or no machine of the jobs that the hook asks for has the event
            or the state.
    """
    for hook in hooks:
        _check(hook.job, jobs, "job", "")
        of = "" if hook.job is None else f" of the job {hook.job!r}"
        specs = [spec for name, spec in jobs.items() if hook.job in (None, name)]
        if not specs:
            continue  # no job is registered yet
        moving = {e.event for spec in specs for e in spec.edges if e.source != e.target} | {_CREATE}
        if hook.event in {e.event for spec in specs for e in spec.edges} - moving:
            raise DefinitionError(f"a hook on {hook.event!r} is never called: that event changes no state")
        entered = {e.target for spec in specs for e in spec.edges if e.source != e.target}
        _check(hook.event, moving, "event that changes a state", of)
        _check(hook.state, entered | {spec.initial.id for spec in specs}, "state that is entered", of)


async def call_hooks(
    binding: Binding, moved: Sequence[Moved], at: int | Mapping[str, int], created: Container[str] = ()
) -> None:
    """Call the hooks for what one statement has moved. Never raises: the transitions are committed.

    Args:
        binding: the application on its database.
        moved: the runs after their moves.
        at: when they were moved, in milliseconds, of all or by id.
        created: the ids of those that the statement created. They entered their first state, and one that was
            due also the state that a hint leads to.
    """
    hooks = binding.registry.hooks
    wanted = [run for run in moved if any(_may_match(binding, hook, run, created) for hook in hooks)]
    if not wanted:
        return
    try:
        task = OwnTask()
        await task.run(_call_each(task, binding, wanted, at, created), SECONDS)
    except TimeoutError:
        log.error("the hooks for %d transitions took over %g s; the rest is dropped", len(wanted), SECONDS)
    except StoreError as exc:
        log.error("the hooks for %d transitions are dropped: %s", len(wanted), exc)
    except Exception as exc:  # of the application's lifespan
        log.error("the hooks for %d transitions are dropped: %s", len(wanted), logged(exc))


async def _call_each(
    task: OwnTask,
    binding: Binding,
    moved: Sequence[Moved],
    at: int | Mapping[str, int],
    created: Container[str],
) -> None:
    """Call the hooks for these runs, one after the other.

    What is large of a run is read as far as half of the event's statements reach: the rest is for handlers.
    After that hooks get the run as a list gives it, without.
    """
    async with for_one_event(binding):
        rows = await read_runs(binding, [run.id for run in moved], results=True)
        large = {each.id: None for each in rows.values() if LEFT_OUT in (each.payload, each.result)}
        whole, short = InTurn(large, RUNS_AT_ONCE, partial(read_runs, binding, results=True)), 0
        for run in moved:
            row = rows.pop(run.id, None)
            if run.id in large:
                if whole.has(run.id) or binding.budget.affords_half():
                    row = await whole.of(run.id)
                else:
                    short += 1
            if row is not None:
                when = moment(at if isinstance(at, int) else at[run.id])
                status = run_status(binding, row)
                for place in _places(status.history, run.state, when, new=run.id in created):
                    await _call_for(task, binding, status, place)
        if short:
            said = "hooks got %d of %d runs without what is large: half of the statements are spent"
            log.warning(said, short, len(moved))


async def _call_for(task: OwnTask, binding: Binding, run: RunStatus, place: int) -> None:
    """Call the hooks for an entry of a run's history."""
    entry, before = run.history[place], run.history[place - 1].state if place else None
    state, forgotten = str(entry.state), list[str]()
    jobs = noted(binding.jobs, forgotten)
    transition = Transition(entry.event, before, state, entry.facts, run, jobs, binding.env)
    for hook in binding.registry.hooks:
        job = run.name if hook.job is None else binding.registry.name_of(hook.job)
        asked = job, hook.event or entry.event, hook.state or state
        if asked == (run.name, entry.event, state):
            await _call(task, binding, hook, transition)
            if forgotten:
                told = run.kumofire_job_run_id, not_awaited(forgotten)
                said = "a hook on run %s: %s; make it async, and await every call"
                log.error(said, *told, extra=_about(run))
                forgotten.clear()


async def _call(task: OwnTask, binding: Binding, hook: Hook, transition: Transition) -> None:
    try:
        with binding.registry.observer.apart():  # the task was made in that of any handler
            answer = hook.function(transition)
            if inspect.isawaitable(answer):
                await answer
    except BaseException as exc:
        own = isinstance(exc, GeneratorExit) and not task.ends_by(exc)
        if task.ends_by(exc) or (not own and ends_worker(exc, shared_platform=binding.queue is not None)):
            raise
        said = transition.run.kumofire_job_run_id, transition.event, logged(exc)
        what = "a hook on run %s failed; its transition %r stands: %s"
        log.error(what, *said, extra=_about(transition.run))
    await task.calm()


def _about(run: RunStatus) -> dict[str, Any]:
    return {"run_id": run.kumofire_job_run_id, "job": run.name, "attempt": run.attempt}


def _places(history: Sequence[HistoryEntry], state: str, at: datetime, *, new: bool) -> Sequence[int]:
    """Return which entries tell of a move; none of what kept its state, unless it entered a step.

    A creation leaves up to two, which stand first.
    """
    fitting = [
        place
        for place, entry in enumerate(history)
        if (entry.state, entry.at) == (state, at)
        and (not place or history[place - 1].state != state or "step" in entry.facts)
    ]
    return range(fitting[0] + 1) if new and fitting else fitting[-1:]


def _may_match(binding: Binding, hook: Hook, run: Moved, created: Container[str]) -> bool:
    """Return whether a hook may ask for what a run was moved by, as far as its state and machine tell."""
    name_of = binding.registry.name_of
    if hook.job is not None and name_of(hook.job) != name_of(run.job):
        return False
    definition = binding.definition(run.job)
    if definition is not None and run.id in created and hook.event in (None, _CREATE):
        return hook.state in (None, definition.machine.initial.id, run.state)
    if hook.state not in (None, run.state):
        return False
    if hook.event is None or definition is None:
        return True
    return any(edge.target == run.state for edge in definition.machine.edges_of(hook.event))


def _check(name: str | None, known: Iterable[str], what: str, of: str) -> None:
    if name is None or name in set(known):
        return
    hint = did_you_mean(name, known) or f"; there are: {', '.join(sorted(known)) or 'none'}"
    raise DefinitionError(f"a hook names {name!r}, but there is no such {what}{of}{hint}")
