"""Intervals never drift, rules look forwards and backwards alike, and jitter is the same everywhere."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kumofire_fsm.calendar.crontab import parse_crontab
from kumofire_fsm.calendar.firings import next_wall
from kumofire_fsm.calendar.recurrence import jitter_delay_ms
from kumofire_fsm.calendar.rules import Cron, Every, latest_between, preview
from kumofire_fsm.values.times import LAST_MS

DAY_MS = 86_400_000
INSTANTS = st.integers(0, 10**13)


@given(interval=st.integers(1_000, 10**10), anchor=INSTANTS, after=INSTANTS)
def test_an_occurrence_is_the_anchor_and_whole_intervals(interval: int, anchor: int, after: int) -> None:
    rule = Every(interval, anchor)
    following = rule.next_after(after)
    assert following > after
    assert following >= anchor
    assert (following - anchor) % interval == 0
    assert following - after <= interval or following == anchor
    earlier = rule.previous(following)
    assert earlier == (None if following == anchor else following - interval)
    assert latest_between(rule, after, following) == following
    assert latest_between(rule, after, following - 1) is None


@pytest.mark.parametrize("timezone", ["UTC", "Asia/Tokyo", "Pacific/Kiritimati", "Etc/GMT+12"])
@pytest.mark.parametrize("expression", ["0 * * * *", "30 12 * * *", "0 0 31 12 *", "0 0 29 2 *"])
@pytest.mark.parametrize("beyond", [LAST_MS - 90_000_000, LAST_MS, LAST_MS + 1, 10**18, 2**62])
def test_at_the_end_of_the_calendar_rules_end_forwards_and_backwards_alike(expression, timezone, beyond):
    rule = Cron(expression, timezone)
    last = rule.previous(max(beyond, LAST_MS + 1))
    assert last is not None
    assert LAST_MS - 4 * 366 * DAY_MS < last <= LAST_MS
    assert rule.next_after(last - 1) == last
    assert rule.next_after(max(beyond, last)) is None
    assert rule.previous(2**62) == last


def test_an_interval_ends_with_the_calendar_forwards_and_backwards_alike():
    rule = Every(3_600_000, 5)
    last = rule.previous(2**62)
    assert last == LAST_MS - (LAST_MS - 5) % 3_600_000
    assert rule.next_after(last - 1) == last
    assert rule.next_after(last) is None
    assert rule.next_after(2**62) is None


def test_a_preview_holds_the_next_ones() -> None:
    assert preview(Every(60_000, 30_000), 0, 3) == [30_000, 90_000, 150_000]
    assert preview(Cron("0 0 * * *"), 0, 2) == [86_400_000, 172_800_000]
    assert preview(Cron("0 0 30 2 *"), 0, 2) == []
    assert preview(Cron("* * * * *"), 0, 0) == []


@pytest.mark.parametrize("rule", [Cron("* * * * * *", "America/New_York"), Every(1_000, 0)], ids=str)
def test_the_latest_of_ten_years_of_seconds_is_found_at_once(rule: Cron | Every) -> None:
    began = time.process_time()
    until = 1_800_000_000_500
    assert latest_between(rule, until - 10 * 365 * 86_400_000, until) == 1_800_000_000_000
    assert time.process_time() - began < 0.5


def test_threads_that_ask_at_once_get_their_own_answers() -> None:
    crontab = parse_crontab("0 0 * * 1-5")
    wrong: list[int] = []

    def ask(first: int) -> None:
        for day in range(first, first + 2_500):
            found = next_wall(crontab, day * 86_400)
            if found is None or not day < found // 86_400 <= day + 3:
                wrong.append(day)

    patience = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that they interrupt each other within one question
    try:
        threads = [threading.Thread(target=ask, args=(number * 5_000,)) for number in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(patience)
    assert wrong == []


def test_jitter_is_fixed_for_a_schedule_and_an_occurrence() -> None:
    assert jitter_delay_ms("0198c0de-0000-7000-8000-000000000000", 1_767_225_600_000, 60_000) == 3_345
    script = (
        "from kumofire_fsm.calendar.recurrence import jitter_delay_ms; print(jitter_delay_ms('a', 5, 10**6))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) == jitter_delay_ms("a", 5, 10**6)


def test_jitter_is_spread_evenly_over_the_whole_range() -> None:
    delays = [jitter_delay_ms("a", 60_000 * n, 9) for n in range(2_000)]
    assert set(delays) == set(range(10))
    assert mean(delays) == pytest.approx(4.5, abs=0.2)
    assert {jitter_delay_ms("a", n, 0) for n in range(100)} == {0}
    assert jitter_delay_ms("a", 5, 10**6) != jitter_delay_ms("b", 5, 10**6)
