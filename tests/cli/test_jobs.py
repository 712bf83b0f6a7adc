"""``kumofire jobs``: pause, resume and limit a job of a file, and list what is said."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kumofire_fsm import InvalidArgument, Kumofire
from kumofire_fsm.cli.commands import cli


def call(*arguments: str) -> list[str]:
    done = CliRunner().invoke(cli, ["jobs", *arguments])
    if done.exception is not None:
        raise done.exception
    return done.stdout.splitlines()


@pytest.fixture
def file(tmp_path: Path) -> str:
    app = Kumofire()

    @app.job("mail")
    def mail(ctx): ...

    with app.open_sync(tmp_path / "jobs.db") as jobs:
        jobs.create("mail")
    return str(tmp_path / "jobs.db")


def test_a_job_is_paused_limited_listed_and_resumed(file: str) -> None:
    (paused,) = call("pause", "mail", "--db", file, "--by", "ann", "--note", "no network", "--utc")
    assert re.fullmatch(
        r"mail  paused since [\d :-]{19} UTC  by ann  no network  running 0  waiting 1", paused
    )
    assert call("list", "--db", file, "--utc") == [paused]
    (limited,) = call("limit", "mail", "--to", "2", "--by", "bob", "--db", file, "--utc")
    assert limited == paused.replace("running 0", "running 0 of 2"), "it still says who paused it"
    assert call("resume", "mail", "--db", file) == ["mail  open  running 0 of 2  waiting 1"]
    assert call("limit", "mail", "--to", "none", "--by", "bob", "--db", file) == [
        "mail  open  running 0  waiting 1  by bob"
    ]


def test_a_list_and_what_is_said_are_json_too(file: str) -> None:
    said = json.loads("\n".join(call("limit", "mail", "--to", "2", "--by", "ann", "--db", file, "--json")))
    assert (said["name"], said["limit"], said["by"], said["waiting"], said["paused_at"]) == (
        "mail", 2, "ann", 1, None,
    )  # fmt: skip
    assert json.loads("\n".join(call("list", "--db", file, "--json"))) == [said]
    assert "registered" not in said, "only an application can tell"


@pytest.mark.parametrize("arguments", [["pause", "mail"], ["list"]])
def test_a_command_makes_no_file(tmp_path: Path, arguments: list[str]) -> None:
    with pytest.raises(InvalidArgument, match="there is no database"):
        call(*arguments, "--db", str(tmp_path / "none.db"))
    assert list(tmp_path.iterdir()) == []


def test_a_limit_of_nothing_is_refused(file: str) -> None:
    with pytest.raises(InvalidArgument, match="limit must be an integer from 1"):
        call("limit", "mail", "--to", "0", "--db", file)


@pytest.mark.parametrize(("to", "found"), [((), ""), (("--to", "two"), "; found 'two'")])
def test_a_limit_that_is_not_said_changes_nothing(file: str, to: tuple[str, ...], found: str) -> None:
    call("limit", "mail", "--to", "2", "--db", file)
    with pytest.raises(InvalidArgument) as refused:
        call("limit", "mail", *to, "--db", file)
    assert str(refused.value) == f"say the limit: --to N, or --to none for what the code says{found}"
    assert call("list", "--db", file) == ["mail  open  running 0 of 2  waiting 1"]
