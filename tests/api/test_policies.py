"""Misfire and overlap policies together, through the real dispatcher: it does what the plain model says."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import pytest
from fakes import START
from harness import Bound, Kit, nothing
from hypothesis import given, settings
from hypothesis import strategies as st
from schedule_model import Model
from slices import examples, sliced

RULES = st.one_of(
    st.integers(20, 600).map(lambda seconds: {"every": seconds}),
    st.sampled_from([5, 10, 30]).map(lambda minutes: {"cron": f"*/{minutes} * * * *"}),
)
GAPS = st.one_of(st.integers(5, 90), st.integers(300, 1200), st.integers(3600, 20_000))
STEPS = st.lists(st.tuples(GAPS, st.booleans()), min_size=1, max_size=12)


def seconds_of(rule: dict[str, Any]) -> int:
    return rule["every"] if "every" in rule else 60 * int(rule["cron"].split()[0][2:])


UNSETTLED = "SELECT id, scheduled_for FROM kumofire_runs WHERE wake_at IS NOT NULL"
ORIGIN = int(START.timestamp() * 1000)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


async def settle(w: Bound) -> None:
    for run_id, _ in await w.sql(UNSETTLED):
        await w.jobs.cancel(run_id)


async def follow(model: Model, rule: dict[str, Any], steps: list[tuple[int, bool]]) -> None:
    kit = Kit()
    kit.job("none")(nothing)
    now = 0
    async with kit.bound() as w:
        made = await w.jobs.create_schedule(
            "none",
            **rule,
            misfire=model.misfire,
            misfire_grace=model.grace,
            overlap=model.overlap,
            max_occurrences=model.most,
            end_at=None if model.until is None else START + timedelta(seconds=model.until),
        )
        for gap, settles in steps:
            kit.clock.advance(gap)
            now += gap
            if settles:
                await settle(w)
                model.busy.clear()
            before = len(model.ran), len(model.skipped)
            model.look(now)
            report = await w.jobs.dispatch()
            assert (report.made, report.skipped) == (
                len(model.ran) - before[0],
                len(model.skipped) - before[1],
            )
            assert report.complete
            rows = await w.sql("SELECT scheduled_for FROM kumofire_runs ORDER BY scheduled_for")
            assert [(row[0] - ORIGIN) / 1000 for row in rows] == sorted(model.ran)
            assert {(row[1] - ORIGIN) / 1000 for row in await w.sql(UNSETTLED)} == model.busy
            shown = await w.jobs.get_schedule(made.id)
            assert shown.next_at == (None if model.ended else at(model.next))
            assert (shown.made, shown.skipped) == (len(model.ran), len(model.skipped))
            assert shown.skipped_at == (at(max(model.skipped)) if model.skipped else None)
            assert shown.skipped_why == model.why
            assert shown.last_at == (at(model.ran[-1]) if model.ran else None)


POLICIES = list(product(["skip", "latest", "all"], ["allow", "skip", "queue", "cancel_previous"]))


@pytest.mark.parametrize(("misfire", "overlap"), sliced(POLICIES, 3))
def test_the_dispatcher_does_what_the_model_says(misfire: str, overlap: str) -> None:
    @settings(max_examples=examples(25), deadline=None)
    @given(
        rule=RULES,
        grace=st.sampled_from([0, 30, 60, 900]),
        most=st.none() | st.integers(1, 6),
        until=st.none() | st.integers(600 * 6, 60_000),
        steps=STEPS,
    )
    def agrees(
        rule: dict[str, Any], grace: int, most: int | None, until: int | None, steps: list[tuple[int, bool]]
    ) -> None:
        step = seconds_of(rule)
        model = Model(lambda at: at - at % step + step, misfire, grace, overlap, most, until, step)
        asyncio.run(follow(model, rule, steps))

    agrees()
