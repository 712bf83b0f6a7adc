"""Brings a flow's instances to the version that this code declares: a plan first, and then the move.

A plan only reads. A move takes a bounded set of instances a statement, each only if it is still as it was
read; what is leased is left until it rests, or its lease is over.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.flow_jobs import FlowJob
from kumofire_fsm.engine.moves import Fired, fire, startable
from kumofire_fsm.errors import KumofireError, MigrationConflict
from kumofire_fsm.flows.instance import begun_again
from kumofire_fsm.flows.spec import Kind
from kumofire_fsm.ports import Statement, Storage
from kumofire_fsm.store.moves import RunMoves
from kumofire_fsm.store.rows import Move
from kumofire_fsm.store.versions import (
    OldInstance,
    count_steps,
    drop_payloads,
    move_versions,
    old_instances,
    old_settled,
    store_payloads,
)
from kumofire_fsm.values.error_text import error_line, first_refusal
from kumofire_fsm.values.jsontext import json_facts
from kumofire_fsm.values.limits import INLINE_BYTES, PAYLOAD_BYTES
from kumofire_fsm.values.typed import encode_typed

__all__ = ["REDRIVE", "FlowPlan", "Upgrade", "migrate_flow", "plan_flow", "redrive_settled"]

Upgrade = Callable[[dict[str, Any]], Any]
"""Gives the data of the next version from that of one version, as JSON gives it."""

SAMPLE: Final = 50
"""Instances whose data a plan checks."""
REDRIVE: Final = "redrive"
"""The event by which what is settled begins again."""
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


@dataclass(slots=True)
class _Row:
    """An instance as it was read, and as it is to become."""

    read: OldInstance
    step: str | None
    undo: str
    data: str = ""
    error: str = field(default="")
    lost: str = field(default="")
    """A step that it has done, and that nobody would undo."""

    def values(self, facts: str, now: int) -> tuple[Any, ...]:
        """Return what `move_versions` takes of it."""
        return (*self.read[:-2], self.step, self.undo, self.inline(), facts, now)

    def inline(self) -> str:
        """Return the data as it stands in the row; empty where it is too large for that."""
        return "" if len(self.data) > INLINE_BYTES else self.data

    def body(self, entered: int) -> tuple[str, str, int, int]:
        """Return what `store_payloads` takes of it, once so many steps are entered."""
        return self.read.id, self.data, self.read.starts, self.read.visit + entered


async def plan_flow(
    storage: Storage, job: FlowJob, upgrades: Mapping[int, Upgrade], now: Callable[[], int]
) -> FlowPlan:
    """Return what a migration of a flow's instances would do; nothing is changed."""
    flow = job.flow
    if not flow.former:
        return FlowPlan(job, {})
    steps: dict[tuple[str, str], tuple[int, str | None]] = {}
    lost = Counter[str]()
    for part, machine, step, number in await storage.execute(count_steps(flow.former)):
        if part == "at":
            steps[machine, step] = number, _renamed(job, step)
        elif _undone(job, step) is None:
            lost[step] += number
    rows = await storage.execute(old_instances(job.machine, after="", limit=SAMPLE, now=now(), leased=False))
    made = [_made(job, OldInstance(*row), upgrades) for row in rows]
    bad = [each for each in made if each.error]
    left = await storage.execute(old_instances(job.machine, after="", limit=1000, now=now(), leased=True))
    return FlowPlan(job, steps, len(made), len(bad), bad[0].error if bad else "", len(left), lost)


async def migrate_flow(
    storage: Storage, job: FlowJob, upgrades: Mapping[int, Upgrade], now: Callable[[], int]
) -> int:
    """Move a flow's instances that rest to this version; return how many.

    Raises:
        MigrationConflict: one has nowhere to go, or data that does not fit; those before it are moved.
    """
    moved = 0
    async for rows in _old(storage, job, now):
        made = [_made(job, OldInstance(*row), upgrades) for row in rows]
        for each in made:
            if why := _why(job, each):
                raise MigrationConflict(f"{why}; {moved:,} were moved before it")
        moved += await _move(storage, job, made, now())
    return moved


async def redrive_settled(
    binding: Binding, job: FlowJob, run_ids: Sequence[str], *, step: str = "", said: str | None = None
) -> tuple[Fired, dict[str, str]]:
    """Redrive those of these runs that are settled instances of a version before; they follow this one then.

    Args:
        binding: the application on its database.
        job: the flow.
        run_ids: the runs.
        step: where they go on, if not where they were.
        said: who and why, as JSON for their histories.

    Returns:
        Those that moved; and of those that cannot, why.
    """
    states = {edge.source for edge in job.machine.edges_of(REDRIVE)}
    rows = await binding.storage.execute(old_settled(job.machine, run_ids, states))
    made = {row[0]: _made(job, OldInstance(*row), job.upgrades) for row in rows}
    for each in made.values():
        each.step = step or each.step
    bad = {run_id: why for run_id, each in made.items() if (why := _why(job, each))}
    facts = json_facts(**json.loads(said or "{}"), version=job.flow.version)
    moves = []
    for run_id in made.keys() - bad.keys():
        each = made[run_id]
        what: dict[str, Any] = {
            "to_step": each.step,
            "to_undo": each.undo,
            "data": each.inline(),
            "facts": facts,
        }
        what |= {"was_visit": each.read.visit, "told": None if step else each.read.letter}
        moves.append(binding.move(run_id, REDRIVE, hint_ms=binding.hint_ms, **what))
    again = RunMoves([begun_again(job.machine, former) for former in job.flow.former])

    def batch(part: Sequence[Move]) -> list[Statement]:
        rows = [made[move.id] for move in part]
        return [again.fire([REDRIVE], part, fenced=False), *_bodies(job, rows, entered=1)]

    return await fire(binding, moves, batch, hint=startable), bad


async def _move(storage: Storage, job: FlowJob, made: Sequence[_Row], now: int) -> int:
    """Move instances to this version, each if it is still as it was read; return how many."""
    facts = json_facts(version=job.flow.version)
    moved = move_versions(job.machine, [each.values(facts, now) for each in made])
    return len((await storage.batch([moved, *_bodies(job, made)]))[0])


def _bodies(job: FlowJob, made: Sequence[_Row], entered: int = 0) -> Iterator[Statement]:
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


def _why(job: FlowJob, row: _Row) -> str:
    """Return why an instance cannot follow this version; empty if it can."""
    was, version = row.read.step, job.flow.version
    if not row.error and not row.lost and row.step is not None:
        return ""
    if row.error:
        why = row.error
    elif row.lost:
        why = f"it has done {row.lost!r}, which is no step any more; say was={{{row.lost!r}: ...}}"
    elif job.flow.step(job.flow.was.get(was, was) or ""):
        why = f"{was!r} is an end in version {version}; say at which step it goes on"
    else:
        why = f"there is no step {was!r} in version {version}; say was={{{was!r}: ...}}"
    return f"instance {row.read.id} of {job.name!r} cannot be moved to version {version}: {why}"


async def _old(
    storage: Storage, job: FlowJob, now: Callable[[], int]
) -> AsyncIterator[list[tuple[Any, ...]]]:
    after = ""
    while job.flow.former:
        rows = await storage.execute(
            old_instances(job.machine, after=after, limit=AT_ONCE, now=now(), leased=False)
        )
        if not rows:
            return
        yield rows
        after = rows[-1][0]


def _renamed(job: FlowJob, step: str) -> str | None:
    """Return the step of this version in which an instance goes on that is at this one; None for nowhere."""
    found = job.flow.step(job.flow.was.get(step, step) or "")
    return None if found is None or found.kind is Kind.END else found.id


def _undone(job: FlowJob, step: str) -> str | None:
    """Return the step whose undo is that of a step that was done; empty for none, None where it is gone."""
    to = job.flow.was.get(step, step)
    if to is None:
        return ""
    found = job.flow.step(to)
    return None if found is None else found.id if found.undo else ""


def _made(job: FlowJob, read: OldInstance, upgrades: Mapping[int, Upgrade]) -> _Row:
    """Return what an instance becomes."""
    done = json.loads(read.undo or "[]")
    undo = [_undone(job, step) for step in done]
    made = _Row(read, _renamed(job, read.step), json.dumps([to for to in undo if to]))
    made.lost = next((step for step, to in zip(done, undo, strict=True) if to is None), "")
    version = int(read.machine.rpartition("@")[2])
    try:
        data: Any = json.loads(read.body or "null")
        for number in range(version, job.flow.version):
            if number in upgrades:
                data = upgrades[number](data)
        assert job.payload is not None
        value = job.payload.validate_python(data)
        made.data = encode_typed(value, job.payload, "the data", PAYLOAD_BYTES)
    except (KumofireError, ValueError) as exc:
        made.error = _first_line(exc)
    except Exception as exc:
        made.error = f"its upgrade raised {error_line(exc)}"
    return made


def _first_line(exc: Exception) -> str:
    return first_refusal(exc) or str(exc).split("\n", 1)[0]
