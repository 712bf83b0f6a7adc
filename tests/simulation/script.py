"""What people and programs ask for in one history: creates, cancels, redrives, schedules, and when."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from kumofire_fsm import NewRun
from kumofire_fsm.errors import (
    Conflict,
    DedupeConflict,
    GuardFailed,
    InvalidArgument,
    InvalidSchedule,
    LeaseLost,
    TransientStoreError,
    TransitionNotAllowed,
    UnknownRun,
    UnknownSchedule,
)
from simulation.faults import Dice
from simulation.handlers import ACTS, JOBS, KEPT_MS, KEY_LIMITS, KEY_RATES

if TYPE_CHECKING:
    from kumofire_fsm.jobs import Jobs
    from kumofire_fsm.models import Created
    from simulation.world import World

__all__ = ["EXPECTED", "Action", "perform", "script"]

EXPECTED = (
    Conflict, DedupeConflict, GuardFailed, InvalidSchedule, LeaseLost, TransientStoreError,
    TransitionNotAllowed, UnknownRun, UnknownSchedule,
)  # fmt: skip
"""What a caller may be told in a world that fails; anything else is a defect."""
VERBS = (
    *("create",) * 9, *("create_many",) * 2, "cancel", "cancel", "cancel", *("redrive",) * 4, "reschedule",
    "prune", "every", "cron", "pause", "resume", "revise", "pause_job", "resume_job", "limit_job", "limit_job",
)  # fmt: skip
_PADDING = "x" * 600
"""Makes a payload so large that it stands in a row of its own."""


@dataclass(frozen=True, slots=True)
class Action:
    """One call of a client, at a time in milliseconds from the beginning.

    ``target`` is the action that created what is meant; ``options`` are the arguments of a create,
    ``policy`` those of a schedule.
    """

    number: int
    at: int
    verb: str
    target: int
    options: dict[str, Any]
    policy: dict[str, Any]

    def __str__(self) -> str:
        told = {"create": self.options, "every": self.policy, "cron": self.policy}
        return f"{self.verb} {told.get(self.verb, f'(action {self.target})')}".replace(_PADDING, "xxx...")


def script(dice: Dice, length_ms: int, dropped: Collection[int] = ()) -> list[Action]:
    """Return the actions of one history, but for those dropped."""
    actions: list[Action] = []
    at = target = 0
    for number in range(4 + dice.below(9, 500)):
        close = dice.below(3, 501, number)
        at = at + dice.below(2_000, 502, number) if close else dice.below(length_ms, 503, number)
        at = min(at, length_ms - 1)
        verb = VERBS[dice.below(len(VERBS), 504, number)] if number else "create"
        if number and dice.below(2, 506, number):
            target = dice.below(number, 505, number)  # else what the last action was about
        actions.append(Action(number, at, verb, target, _options(dice, number), _policy(dice, number)))
    return [action for action in actions if action.number not in dropped]


def _options(dice: Dice, n: int) -> dict[str, Any]:
    def one_in(chance: int, place: int) -> bool:
        return dice.below(chance, 510 + place, n) == 0

    def pick(values: tuple[Any, ...], place: int) -> Any:
        return values[dice.below(len(values), 530 + place, n)]

    options: dict[str, Any] = {
        "name": JOBS[min(dice.below(5, 520, n), len(JOBS) - 1)] if one_in(2, 9) else JOBS[0],
        "payload": {"acts": [pick(ACTS, 20 + i) for i in range(1 + dice.below(3, 521, n))]},
    }
    if one_in(6, 4):
        options["payload"]["padding"] = _PADDING
    if one_in(4, 0):
        options["delay"] = pick((1, 8, 40, 150), 0)
    if one_in(4, 1):
        options["dedupe_key"] = pick(("a", "b"), 1)
        options["dedupe"] = pick(("active", "forever"), 2)
    if one_in(6, 2):
        options["expires_in"] = pick((2, 30, 160), 3) + options.get("delay", 0)
    if one_in(5, 3):
        options["max_attempts"] = pick((1, 2, 5), 4)
    if options["name"] in KEY_RATES or (options["name"] in KEY_LIMITS and one_in(2, 6)):
        options["concurrency_key"] = pick(("x", "x", "y"), 6)
    if one_in(3, 5):
        options["priority"] = pick(("high", "low"), 5)
    return options


def _policy(dice: Dice, n: int) -> dict[str, Any]:
    """Return what a schedule makes of missed and overlapping occurrences, and what its runs do."""

    def pick(values: tuple[Any, ...], place: int) -> Any:
        return values[dice.below(len(values), 550 + place, n)]

    return {
        "overlap": pick(("allow", "allow", "skip", "queue", "cancel_previous"), 0),
        "misfire": pick(("latest", "latest", "skip", "all"), 1),
        "misfire_grace": pick((60, 5), 2),
        "jitter": pick((0, 0, 5), 3),
        "acts": pick((["large"], ["large"], ["slow", "ok"], ["hang", "ok"], ["error", "error", "ok"]), 4),
    }


async def perform(world: World, jobs: Jobs, action: Action) -> None:
    """Do what one action says; a create with a key is repeated when its answer was lost."""
    made = world.made
    target = made.get(action.target)
    match action.verb:
        case "create":
            await _create(world, jobs, action)
        case "create_many":
            first = action.options["payload"]
            large = {"padding": _PADDING[1:]} if "padding" in first else {}
            payloads = (first, {"acts": ["ok"]}, {"acts": ["poison", "ok"], **large})
            key = action.options.get("concurrency_key")
            created = await jobs.create_many(
                [NewRun("work", payload, concurrency_key=key) for payload in payloads]
            )
            world.monitor.created(created, payloads)
        case "cancel" if target:
            await jobs.cancel(target)
        case "redrive" if target:
            world.monitor.moved_by_hand.add(target)
            await jobs.redrive(target)
        case "reschedule" if target:
            world.monitor.moved_by_hand.add(target)
            await jobs.reschedule(target, delay=20)
        case "prune":
            await jobs.prune(older_than=timedelta(milliseconds=KEPT_MS))
        case "every" | "cron":
            await _schedule(jobs, action)
        case "pause":
            await jobs.pause_schedule(schedule_key="s")
        case "resume":
            for each in await jobs.list_schedules():
                await jobs.resume_schedule(each.id, missed=action.policy["misfire"])
        case "pause_job":
            await jobs.pause_job(action.options["name"], by="the script")
        case "resume_job":
            await jobs.resume_job(action.options["name"])
        case "limit_job":
            await jobs.limit_job(action.options["name"], action.number % 3 or None)
        case "revise":
            await jobs.update_schedule(schedule_key="s", every=timedelta(seconds=25))


async def _create(world: World, jobs: Jobs, action: Action) -> None:
    options = dict(action.options)
    name, payload, expires = options.pop("name"), options.pop("payload"), options.pop("expires_in", None)
    asked = {"due": world.now + 1000 * options.get("delay", 0)}
    if expires is not None:
        options["expires_at"] = world.moment(expires)
        asked["expires"] = world.now + 1000 * expires
    payload = {**payload, "asked": asked}
    try:
        created = await _create_or_again(jobs, name, payload, options)
    except InvalidArgument:
        if expires is None:
            raise
        return  # the client was too slow, or its clock is behind: it would have expired before its time
    world.made[action.number] = created.kumofire_job_run_id
    world.monitor.created([created], [payload], options.get("dedupe_key"))


async def _create_or_again(jobs: Jobs, name: str, payload: Any, options: dict[str, Any]) -> Created:
    """Create a run; a client that named a dedupe key tries a second time where the database failed."""
    try:
        return await jobs.create(name, payload, **options)
    except TransientStoreError:
        if "dedupe_key" not in options:
            raise
        return await jobs.create(name, payload, **options)


async def _schedule(jobs: Jobs, action: Action) -> None:
    policy = dict(action.policy)
    payload = {"acts": policy.pop("acts"), "padding": _PADDING}
    if action.verb == "cron":
        await jobs.upsert_schedule("plain", payload, schedule_key="s", cron="* * * * *", **policy)
    else:
        await jobs.upsert_schedule("late", payload, schedule_key="s", every=timedelta(seconds=40), **policy)
