"""Zones by their names, and what is near a wrong one."""

from __future__ import annotations

import re
import zoneinfo
from zoneinfo import ZoneInfo

import pytest

from kumofire_fsm.calendar import zones
from kumofire_fsm.calendar.zones import Change, find_zone, offset_or_change
from kumofire_fsm.errors import InvalidSchedule


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Europe/Berln", "did you mean 'Europe/Berlin'"),
        ("europe/berlin", "did you mean 'Europe/Berlin'?"),
        ("Berlin", "did you mean 'Europe/Berlin'?"),
        ("new york", "did you mean 'America/New_York'?"),
        ("Mars/Olympus", "use a name such as 'Europe/Berlin'"),
        ("", "there is no time zone ''"),
        ("Europe", "there is no time zone 'Europe'"),
        ("../../etc/passwd", "there is no time zone '../../etc/passwd'"),
        ("/etc/localtime", "there is no time zone"),
        ("a\0b", "there is no time zone"),
        ("\ud800", "there is no time zone"),
        ("x" * 5_000, "there is no time zone 'xxx"),
        # These differ from machine to machine, or count leap seconds.
        ("localtime", "there is no time zone 'localtime'"),
        ("posixrules", "there is no time zone 'posixrules'"),
        ("right/Europe/Berlin", "there is no time zone 'right/Europe/Berlin'"),
    ],
)
def test_an_unknown_zone_is_refused_with_those_that_come_near(name: str, said: str) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        find_zone(name)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "name",
    [
        "localtime",
        "Localtime",
        "posixrules",
        "right/Europe/Berlin",
        "posix/UTC",
        "Broken/Zone",
        "Europe/Berln",
    ],
)
def test_what_it_proposes_is_another_name_that_is_taken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever zones are looked for: beside them lie a machine's own files, and one that cannot be read."""
    beside = {"localtime", "posixrules", "right/Europe/Berlin", "posix/UTC", "Broken/Zone"}
    monkeypatch.setattr(zones, "available_timezones", lambda: zoneinfo.available_timezones() | beside)
    find_zone.cache_clear()
    with pytest.raises(InvalidSchedule) as caught:
        find_zone(name)
    _, *proposed = re.findall("'([^']*)'", str(caught.value))
    assert name not in proposed
    assert all(find_zone(each) for each in proposed)


def test_a_wall_time_has_an_offset_or_a_change() -> None:
    zone = ZoneInfo("America/New_York")
    day = 1_772_928_000  # 2026-03-08 00:00 on the wall
    gap = Change(day + 7 * 3600, -5 * 3600, -4 * 3600)
    assert (gap.skips, gap.first, gap.end) == (True, day + 2 * 3600, day + 3 * 3600)
    assert offset_or_change(zone, gap.first - 1) == -5 * 3600
    assert offset_or_change(zone, gap.first) == gap
    assert offset_or_change(zone, gap.end - 1) == gap
    assert offset_or_change(zone, gap.end) == -4 * 3600
    autumn = 1_793_491_200  # 2026-11-01 00:00 on the wall
    twice = Change(autumn + 6 * 3600, -4 * 3600, -5 * 3600)
    assert (twice.skips, twice.first, twice.end) == (False, autumn + 3600, autumn + 2 * 3600)
    assert offset_or_change(zone, twice.first - 1) == -4 * 3600
    assert offset_or_change(zone, twice.first) == twice
    assert offset_or_change(zone, twice.end - 1) == twice
    assert offset_or_change(zone, twice.end) == -5 * 3600
