"""``kumofire schedules preview``: the occurrences, and what clock changes do to them."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kumofire_fsm import InvalidArgument
from kumofire_fsm.cli.commands import cli
from kumofire_fsm.errors import InvalidSchedule

NEW_YORK = ("--tz", "America/New_York")


def shown(*arguments: str) -> list[str]:
    done = CliRunner().invoke(cli, ["schedules", "preview", *arguments])
    if done.exception is not None:
        raise done.exception
    return done.stdout.splitlines()


def test_a_fixed_time_fires_once_although_the_hour_repeats() -> None:
    assert shown("30 1 * * *", *NEW_YORK, "-n", "2", "--from", "2026-10-31T12:00") == [
        "At 01:30 (America/New_York)",
        "local                          UTC                     note",
        "Sun 2026-11-01 01:30:00-04:00  2026-11-01 05:30:00     once, although 01:00 to 02:00 comes twice",
        "Mon 2026-11-02 01:30:00-05:00  2026-11-02 06:30:00",
    ]


@pytest.mark.parametrize(
    ("expression", "zone", "start", "notes"),
    [
        (
            "30 2 * * *",
            "America/New_York",
            "2026-03-08",
            ["just after the gap: 02:00 to 03:00 is skipped", ""],
        ),
        ("0 3 * * *", "America/New_York", "2026-03-08", ["", ""]),
        ("30 * * * *", "America/New_York", "2026-03-08T01:00", ["", ""]),
        (
            "30 * * * *",
            "America/New_York",
            "2026-11-01T00:45",
            [
                "first time round: 01:00 to 02:00 comes twice",
                "second time round: 01:00 to 02:00 comes twice",
                "",
            ],
        ),
        (
            "0 9 * * *",
            "Pacific/Apia",
            "2011-12-29T09:00",
            ["just after the gap: 2011-12-30 00:00 to 2011-12-31 00:00 is skipped", ""],
        ),
    ],
)
def test_each_occurrence_at_a_clock_change_has_a_note(
    expression: str, zone: str, start: str, notes: list[str]
) -> None:
    lines = shown(expression, "--tz", zone, "-n", str(len(notes)), "--from", start)[2:]
    assert [line[55:] for line in lines] == notes


def test_without_from_it_begins_now() -> None:
    assert len(shown("@hourly")) == 12


def test_what_cannot_be_read_is_refused() -> None:
    with pytest.raises(InvalidSchedule, match="its minute field has '60'"):
        shown("60 * * * *")
    with pytest.raises(InvalidSchedule, match="never fires"):
        shown("0 0 31 2 *")
    with pytest.raises(InvalidSchedule, match="did you mean 'Europe/Berlin'"):
        shown("* * * * *", "--tz", "Berlin")
    with pytest.raises(InvalidArgument, match="--from must be an ISO time"):
        shown("* * * * *", "--from", "tomorrow")


def test_the_first_line_says_what_the_dates_are() -> None:
    lines = shown("0 0 13 * FRI#1", "-n", "3", "--from", "2026-02-01")
    assert lines[0] == "At 00:00 on day 13 of the month, or on the first Friday of the month (UTC)"
    assert [line[:14] for line in lines[2:]] == ["Fri 2026-02-06", "Fri 2026-02-13", "Fri 2026-03-06"]


def test_the_example_of_the_docs_shows_what_it_says() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "schedules.md").read_text("utf-8")
    command, *lines = page.split("```console\n")[1].split("```")[0].splitlines()
    assert shown(*shlex.split(command.removeprefix("$ kumofire schedules preview"))) == lines
