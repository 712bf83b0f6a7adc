"""What one next occurrence costs, in microseconds of processor time, beside croniter and cronsim.

Each walks 300 occurrences of the same expression in the same zone, given the expression as text each time,
as a scheduler reads it from a row. "again" asks for the same occurrence a second time, as many jobs
of one expression do.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from croniter import croniter
from cronsim import CronSim

from kumofire_fsm.calendar.rules import Cron

ZONE = "America/New_York"
START = datetime(2026, 5, 3, 12, 1, tzinfo=UTC)
COUNT = 300
ROUNDS = 3
EXPRESSIONS = {
    "*/5 * * * *": "every five minutes",
    "30 1 * * *": "every night",
    "0 9 * * 1-5": "every working day",
    "0 0 1 * *": "every month",
    "0 0 L * *": "the last day",
    "0 0 * * 5#3": "the third Friday",
    "0 12 1 * 1": "the 1st or a Monday",
    "0 0 29 2 *": "leap days",
}


def ours(expression: str) -> Callable[[Any], Any]:
    return lambda at: Cron(expression, ZONE).next_after(at)


def croniters(expression: str) -> Callable[[Any], Any]:
    return lambda at: croniter(expression, at, ret_type=datetime).get_next()


def cronsims(expression: str) -> Callable[[Any], Any]:
    return lambda at: next(CronSim(expression, at))


def microseconds(step: Callable[[Any], Any], start: Any, count: int) -> float:
    """Return the processor time of one step of a walk."""
    began, at = time.process_time(), start
    for _ in range(count):
        at = step(at)
    return (time.process_time() - began) / count * 1e6


def main() -> None:
    local = START.astimezone(ZoneInfo(ZONE))
    milliseconds = int(START.timestamp() * 1000)
    print(f"{'microseconds':<34}{'ours':>9}{'again':>9}{'croniter':>10}{'cronsim':>9}")
    for expression, meaning in EXPRESSIONS.items():
        # Leap days reach the last year of a datetime after some thousand.
        count = 20 if meaning == "leap days" else COUNT
        first = microseconds(ours(expression), milliseconds, count)
        again = min(microseconds(ours(expression), milliseconds, count) for _ in range(ROUNDS))
        other = min(microseconds(croniters(expression), local, count) for _ in range(ROUNDS))
        third = min(microseconds(cronsims(expression), local, count) for _ in range(ROUNDS))
        print(f"{expression:<14}{meaning:<20}{first:>9.1f}{again:>9.1f}{other:>10.1f}{third:>9.1f}")


if __name__ == "__main__":
    main()
