"""Brings a flow's instances to the version that this code declares: a plan first, and then the move.

A plan only reads. A move takes a bounded set of instances a statement, each only if it is still as it was
read; what is leased is left until it rests, or its lease is over. What rests stays as it is, deadline and
all, unless its step is another kind of step now, or a wait that accepts a kept signal: that begins anew.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.flow_jobs import REDRIVE, FlowJob
from kumofire_fsm.engine.flow_rows import OldRow, made_of, read_by_waits, renamed, undone, why_not
from kumofire_fsm.engine.halving import in_halves
from kumofire_fsm.engine.moves import Fired, fire, follow, startable_by
from kumofire_fsm.errors import MigrationConflict, RowRefused
from kumofire_fsm.flows.later import begun_again, taken_up
from kumofire_fsm.ports import Row, Statement
from kumofire_fsm.store.moves import RunMoves
from kumofire_fsm.store.rows import Move, Moved
from kumofire_fsm.store.versions import (
    LOOK_AGAIN,
    OldInstance,
    count_leased,
    count_steps,
    drop_payloads,
    move_versions,
    old_instances,
    old_settled,
    store_payloads,
)
from kumofire_fsm.values.jsontext import chunks, json_facts
from kumofire_fsm.values.limits import INLINE_BYTES

__all__ = ["FlowPlan", "Upgrade", "migrate_flow", "plan_flow", "redrive_settled"]

Upgrade = Callable[[dict[str, Any]], Any]
"""Gives the data of the next version from that of one version, as JSON gives it."""

SAMPLE: Final = 50
"""Instances whose data a plan checks."""
AT_ONCE: Final = 100
"""Instances that one statement moves."""


@dataclass(frozen=True, slots=True)
class FlowPlan:
    """What a migration of one flow would do.

    Attributes:
        steps: for each (machine, step) with live instances: how many, and the step of this version, if any.
        checked, bad: of how many instances the data was checked, and how many do not fit this version.
        first_error: what is wrong with the first of those.
        left: how many are leased now, and are left until they rest.
        lost: steps that were done and are to be undone, and are no more: of how many instances.
    """

    job: FlowJob
    steps: Mapping[tuple[str, str], tuple[int, str | None]]
    checked: int = 0
    bad: int = 0
    first_error: str = ""
    left: int = 0
    lost: Mapping[str, int] = field(default_factory=dict)

    @property
    def live(self) -> int:
        """How many instances there are of versions before."""
        return sum(number for number, _ in self.steps.values())

    @property
    def refused(self) -> bool:
        """Whether instances have nowhere to go, data that does not fit, or what nobody would undo."""
        return bool(self.bad or self.lost) or any(to is None for _, to in self.steps.values())

    def __str__(self) -> str:
        flow = self.job.flow
        if not self.live:
            return f"{flow.name} v{flow.version}: no instance of a version before"
        versions = sorted({machine.rpartition("@")[2] for machine, _ in self.steps})
        lines = [f"{flow.name} v{', v'.join(versions)} -> v{flow.version}: {self.live:,} live"]
        for (_, step), (number, to) in self.steps.items():
            mend = "" if to else f'   no step of that name; say was={{"{step}": "..."}}, or keep the step'
            lines.append(f"  {step:<20}{number:>8,} -> {to or '(nowhere)'}{mend}")
        for step, number in self.lost.items():
            lines.append(
                f"undo: {number:,} have done {step!r}, which no step of that name undoes; say "
                f'was={{"{step}": "..."}}, or None where nothing is to be undone, or keep the step'
            )
        if self.bad:
            lines.append(
                f"data: {self.bad} of {self.checked} checked do not validate: {self.first_error}; give the "
                f"field a default, or an @app.upgrade({flow.name}, from_version=...)"
            )
        if self.left:
            lines.append(f"{self.left} are under way now, and are left until they rest: run it again")
        lines.append("refused" if self.refused else "nothing stands in the way")
        return "\n".join(lines)


async def plan_flow(binding: Binding, job: FlowJob) -> FlowPlan:
    """Return what a migration of a flow's instances would do; nothing is changed."""
    flow, storage, now = job.flow, binding.storage, binding.now
    if not flow.former:
        return FlowPlan(job, {})
    steps: dict[tuple[str, str], tuple[int, str | None]] = {}
    lost = Counter[str]()
    for part, machine, step, number in await storage.execute(count_steps(flow.former)):
        if part == "at":
            steps[machine, step] = number, renamed(job, step)
        elif undone(job, step) is None:
            lost[step] += number
    rows = await storage.execute(old_instances(job.machine, after="", limit=SAMPLE, now=now()))
    made = [made_of(job, OldInstance(*row), binding.now()) for row in rows]
    bad = [each for each in made if each.error]
    ((left,),) = await storage.execute(count_leased(job.machine, now=now()))
    return FlowPlan(job, steps, len(made), len(bad), bad[0].error if bad else "", left, lost)


async def migrate_flow(binding: Binding, job: FlowJob) -> int:
    """Move a flow's instances that rest to this version; return how many.

    Raises:
        MigrationConflict: one has nowhere to go, or data that does not fit; those before it are moved.
        RowRefused: the database refused one; those before it are moved.
    """
    if not job.flow.former:
        return 0
    moved, read = 0, read_by_waits(job)

    def old(after: str) -> Statement:
        return old_instances(job.machine, after=after, limit=AT_ONCE, now=binding.now(), read=read)

    async for rows in _pages(binding, old):
        made = [made_of(job, OldInstance(*row), binding.now()) for row in rows]
        for each in made:
            if why := why_not(job, each):
                raise MigrationConflict(f"{why}; {moved:,} were moved before it")
        for part in chunks(made, attrgetter("size")):
            moved += len(await in_halves(binding, _mover(binding, job), part, _refuse, _leave))
    return moved


async def redrive_settled(
    binding: Binding,
    job: FlowJob,
    run_ids: Sequence[str],
    *,
    step: str = "",
    said: str | None = None,
    found: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> tuple[Fired, dict[str, str]]:
    """Redrive those of these runs that are settled instances of a version before; they follow this one then.

    Args:
        binding: the application on its database.
        job: the flow.
        run_ids: the runs.
        step: where they go on, if not where they were.
        said: who and why, as JSON for their histories.
        found: for runs that move only as they were found, by id: ``was`` and ``starts`` of their `Move`.

    Returns:
        Those that moved; and of those that cannot, why.
    """
    states = {edge.source for edge in job.machine.edges_of(REDRIVE)}
    facts = json_facts(**json.loads(said or "{}"), version=job.flow.version)
    again = RunMoves([begun_again(job.machine, former) for former in job.flow.former])
    moved, refused, bad = dict[str, Moved](), dict[str, Exception](), dict[str, str]()
    made = dict[str, OldRow]()

    def batch(part: Sequence[Move]) -> list[Statement]:
        rows = [made[move.id] for move in part]
        return [again.fire([REDRIVE], part, fenced=False), *_bodies(job, rows, entered=1)]

    def old(after: str) -> Statement:
        return old_settled(job.machine, run_ids, states, after=after)

    async for rows in _pages(binding, old):
        made = {row[0]: made_of(job, OldInstance(*row), binding.now()) for row in rows}
        for each in made.values():
            each.step = step or each.step
        wrong = {run_id: why for run_id, each in made.items() if (why := why_not(job, each))}
        bad |= wrong
        for part in chunks([each for each in made.values() if each.read.id not in wrong], attrgetter("size")):
            moves = []
            for each in part:
                more = {"told": None if step else each.read.letter, **found.get(each.read.id, {})}
                moves.append(_follows(binding, each, REDRIVE, facts, **more))
            fired = await fire(binding, moves, batch, hint=startable_by(REDRIVE))
            moved, refused = moved | fired.moved, {**refused, **fired.refused}
    return Fired(moved, refused), bad


def _follows(binding: Binding, row: OldRow, event: str, facts: str, **more: Any) -> Move:
    """Return the move by which an instance enters its step of this version anew."""
    what: dict[str, Any] = {"to_step": row.step, "to_undo": row.undo, "data": row.inline(), "facts": facts}
    what |= {"was_visit": row.read.visit, "hint_ms": binding.hint_ms, **more}
    return binding.move(row.read.id, event, **what)


def _mover(binding: Binding, job: FlowJob) -> Callable[[Sequence[OldRow]], Awaitable[list[Row]]]:
    """Return what moves instances to this version, each if it is still as it was read, all or none."""
    facts = json_facts(version=job.flow.version)
    looks = RunMoves([taken_up(job.machine, former) for former in job.flow.former])

    async def move(part: Sequence[OldRow]) -> list[Row]:
        now = binding.now()
        statements, anew = [], [each for each in part if each.anew]
        if stay := [each.values(facts, now) for each in part if not each.anew]:
            statements.append(move_versions(job.machine, stay))
        if anew:
            moves = [_look(binding, job, each, facts) for each in anew]
            statements.append(looks.fire([LOOK_AGAIN], moves, fenced=False))
        answers = await binding.storage.batch([*statements, *_bodies(job, part)])
        if anew:
            moved = [Moved(*row) for row in answers[len(statements) - 1]]
            await follow(binding, moved, now, startable_by(LOOK_AGAIN))
        return [row for answer in answers[: len(statements)] for row in answer]

    return move


def _look(binding: Binding, job: FlowJob, row: OldRow, facts: str) -> Move:
    """Return the move by which the step of an instance that rests begins anew, in this version."""
    found = job.flow.step(row.step or "")
    tries = (found and found.max_attempts) or job.tries
    return _follows(binding, row, LOOK_AGAIN, facts, seen=row.read.letters or 0, tries=tries)


def _refuse(_row: OldRow, why: RowRefused) -> None:
    raise why


def _leave(_part: Sequence[OldRow]) -> None:
    """Leave instances to the next call, where this event may send no more statements."""


def _bodies(job: FlowJob, made: Sequence[OldRow], entered: int = 0) -> Iterator[Statement]:
    """Yield what stores the data that is too large for its row, and what drops that which is so no more.

    Args:
        job: the flow.
        made: the instances that the same transaction moves.
        entered: how many steps that enters.
    """
    if large := [each.body(entered) for each in made if not each.inline()]:
        yield store_payloads(job.machine, large)
    if small := [e.read.id for e in made if e.inline() and len(e.read.body or "") > INLINE_BYTES]:
        yield drop_payloads(small)


async def _pages(binding: Binding, read: Callable[[str], Statement]) -> AsyncIterator[list[Row]]:
    """Yield what a statement reads by id, answer after answer; ``read`` takes the id after which to go on."""
    after = ""
    while rows := await binding.storage.execute(read(after)):
        yield rows
        after = rows[-1][0]
