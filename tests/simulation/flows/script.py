"""What people and programs ask of flows in one history: creates, signals, cancels, redrives, and when."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from kumofire_fsm import NewRun
from kumofire_fsm.errors import (
    Conflict,
    GuardFailed,
    InvalidArgument,
    LeaseLost,
    MigrationConflict,
    SchemaMismatch,
    TransientStoreError,
    TransitionNotAllowed,
    UnknownJob,
    UnknownRun,
    UnknownSignal,
)
from simulation.faults import Dice
from simulation.flows.declared import Data, LaterData
from simulation.flows.handlers import ACTS, PAD
from simulation.handlers import KEPT_MS
from simulation.script import Action

if TYPE_CHECKING:
    from kumofire_fsm.jobs import Jobs
    from simulation.flows.worlds import FlowWorld

__all__ = ["EXPECTED", "data_of", "perform", "script", "tend"]

EXPECTED: Final = (
    Conflict, GuardFailed, InvalidArgument, LeaseLost, MigrationConflict, SchemaMismatch,
    TransientStoreError, TransitionNotAllowed, UnknownJob, UnknownRun, UnknownSignal,
)  # fmt: skip
"""What a caller may be told in a world that fails; by who redrives to a step that is not there, too, and by
who runs the code of another version."""
VERBS: Final = (
    *("create",) * 7, "create_many", *("signal",) * 8, "look_again", *("cancel",) * 4, *("redrive",) * 2,
    "retry_undo", "skip_undo", "prune", "reschedule",
)  # fmt: skip
RESTING: Final = ("waiting", "parked")
FLOWS: Final = ("order", "order", "order", "order", "trial", "trial", "entity")
SIGNALS: Final = {
    "order": ("approve", "approve", "approve", "reject", "pay"),
    "trial": ("upgrade", "upgrade", "approve"),
    "entity": ("pay", "pay", "ship", "ship", "drop"),
}
STEPS: Final = (
    "reserve",
    "set_aside",
    "charge",
    "pack",
    "wrap",
    "approval",
    "ship",
    "welcome",
    "placed",
    "tell",
)
_HANDLERS: Final = (
    "reserve", "set_aside", "charge", "charge", "pack", "wrap", "label", "ship", "tell", "welcome", "undo reserve",
    "undo set_aside", "undo charge",
)  # fmt: skip
_LATE_MS: Final = 90_000
"""A client that repeats a signal whose answer it lost does so after a while, too."""


def script(dice: Dice, length_ms: int, dropped: Collection[int] = ()) -> list[Action]:
    """Return the actions of one history, but for those dropped."""
    actions: list[Action] = []
    at = target = 0
    for number in range(5 + dice.below(12, 500)):
        close = dice.below(2, 501, number)
        at = at + dice.below(9_000, 502, number) if close else dice.below(length_ms, 503, number)
        at = min(at, length_ms - 1)
        verb = VERBS[dice.below(len(VERBS), 504, number)] if number else "create"
        if number and dice.below(3, 506, number) == 0:
            target = dice.below(number, 505, number)  # else what the last action was about
        elif verb.startswith("create"):
            target = number
        actions.append(Action(number, at, verb, target, _options(dice, number), {}))
    return [action for action in actions if action.number not in dropped]


def _options(dice: Dice, n: int) -> dict[str, Any]:
    def one_in(chance: int, place: int) -> bool:
        return dice.below(chance, 510 + place, n) == 0

    def pick(values: tuple[Any, ...], place: int) -> Any:
        return values[dice.below(len(values), 530 + place, n)]

    acts = {}
    for i, name in enumerate(_HANDLERS):
        if one_in(3, 20 + i):
            acts[name] = [pick(ACTS, 40 + 4 * i + k) for k in range(1 + dice.below(2, 560 + i, n))]
    create: dict[str, Any] = {}
    if one_in(5, 0):
        create["delay"] = pick((1, 8, 40), 0)
    if one_in(8, 1):
        create["dedupe_key"] = pick(("a", "b"), 1)
    return {
        "flow": pick(FLOWS, 5),
        "acts": acts,
        "total": pick((0, 0, 10), 6),
        "pad": PAD if one_in(4, 4) else "",
        "create": create,
        "pick": dice.below(60, 522, n),
        "key": pick((None, None, "k1", "k2"), 7),
        "twice": one_in(5, 3),
        "step": pick((None, *STEPS), 8),
    }


def data_of(version: int, flow: str, **what: Any) -> Data:
    """Return the data of an instance, as the code of a version has it."""
    return LaterData(warehouse="south", **what) if flow == "order" and version == 2 else Data(**what)


async def perform(world: FlowWorld, jobs: Jobs, version: int, action: Action) -> None:
    """Do what one action says; a signal with a key is repeated when its answer was lost."""
    target, given = world.made.get(action.target), action.options
    match action.verb:
        case "create":
            data = data_of(version, given["flow"], acts=given["acts"], total=given["total"], pad=given["pad"])
            made = await jobs.create(given["flow"], data, **given["create"])
            world.made[action.number] = made.kumofire_job_run_id
            world.monitor.created([made], [data], given["create"].get("dedupe_key"))
        case "create_many":
            flows = ("order", "order", "trial", "entity")
            many = [data_of(version, flow, acts=given["acts"] if n else {}) for n, flow in enumerate(flows)]
            new = [NewRun(flow, data) for flow, data in zip(flows, many, strict=True)]
            created = await jobs.create_many(new)
            world.made[action.number] = created[0].kumofire_job_run_id
            world.monitor.created(created, many)
        case "signal" if target:
            await _signal(world, jobs, action, target)
        case "cancel" if target:
            world.monitor.moved_by_hand.add(target)
            await jobs.cancel(target)
        case "redrive" if target:
            world.monitor.moved_by_hand.add(target)
            await jobs.redrive(target, step=given["step"])
        case "reschedule" if target:
            world.monitor.moved_by_hand.add(target)
            await jobs.reschedule(target, delay=20)
        case "look_again" if rests := [run.id for run in world.monitor.runs.values() if run.state in RESTING]:
            await jobs.fire(rests[action.options["pick"] % len(rests)], "look_again")
        case "retry_undo" | "skip_undo" if target:
            world.monitor.moved_by_hand.add(target)
            await jobs.fire(target, action.verb)
        case "prune":
            await jobs.prune(older_than=timedelta(milliseconds=KEPT_MS))


async def _signal(world: FlowWorld, jobs: Jobs, action: Action, target: str) -> None:
    run = world.monitor.runs.get(target)
    names = SIGNALS[run.job if run is not None else "order"]
    name, key = names[action.options["pick"] % len(names)], action.options["key"]
    world.monitor.moved_by_hand.add(target)
    for time in range(1 + action.options["twice"]):
        nonce = action.number if key else 1_000 * time + action.number
        world.monitor.keyed(target, key, nonce)
        try:
            await jobs.signal(target, name, {"nonce": nonce}, key=key)
        except TransientStoreError:
            if key is None:
                raise
            await jobs.signal(target, name, {"nonce": nonce}, key=key)
        world.monitor.signaled(target, nonce, key)


async def tend(world: FlowWorld, jobs: Jobs) -> None:
    """Do what a person does about what needs one: undo by hand, and give up what nobody waits for."""
    await jobs.migrate_flows()
    for run in world.monitor.in_need():
        try:
            world.monitor.moved_by_hand.add(run.id)
            if run.step == "undo_to_undone" and run.state == "parked":
                await jobs.fire(run.id, "skip_undo")
            elif run.step == "undo_to_undone":
                await jobs.reschedule(run.id, delay=0)  # a clock that was ahead gave it its time
            else:
                await jobs.cancel(run.id)
        except EXPECTED:
            continue
