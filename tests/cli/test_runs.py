"""``kumofire runs``: list, show, watch, cancel, redrive, fire and reschedule, without the application."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from app_versions import Folder
from commands import Done, kumofire

from kumofire_fsm import Fail, Kumofire


class Stored(NamedTuple):
    """A folder with jobs.db in it, and the ids of its runs."""

    folder: Path
    failed: str
    waiting: str

    def call(self, *arguments: object) -> Done:
        return kumofire(self.folder, "runs", *arguments, "--db", "jobs.db")

    def history(self, run_id: str) -> list[Any]:
        return json.loads(self.call("show", run_id, "--json").out)["history"]


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    app = Kumofire()

    @app.job("mail")
    def mail(ctx: Any) -> None:
        raise Fail("no such mailbox")

    @app.job("later")
    def later(ctx: Any) -> None: ...

    async def fill() -> tuple[str, str]:
        async with app.open(tmp_path / "jobs.db") as jobs:
            failed = (await jobs.create("mail", tags=["blue"])).kumofire_job_run_id
            working = asyncio.ensure_future(jobs.run())
            await jobs.wait(failed, timeout=600)
            working.cancel()
            await asyncio.wait([working])
            return failed, (await jobs.create("later", delay=3600)).kumofire_job_run_id

    return Stored(tmp_path, *asyncio.run(fill()))


def test_a_list_has_heads_and_a_line_for_each_run_the_newest_first(stored: Stored) -> None:
    done = stored.call("list", "--utc")
    heads, later, failed = done.out.splitlines()
    assert done.code == 0
    assert heads.split() == ["RUN", "STATE", "JOB", "ATTEMPT", "CREATED", "ERROR"]
    assert later.split()[:4] == [stored.waiting, "ready", "later", "0/3"]
    assert failed.split()[:4] == [stored.failed, "failed", "mail", "1/3"]
    assert failed.endswith(" UTC  Fail: no such mailbox")


def test_a_list_is_filtered_and_goes_on_where_a_page_ended(stored: Stored) -> None:
    for option in (
        ["--job", "mail"],
        ["--state", "failed"],
        ["--tag", "blue"],
        ["--error", "no such mailbox"],
    ):
        (run,) = json.loads(stored.call("list", *option, "--json").out)["runs"]
        assert run["kumofire_job_run_id"] == stored.failed
    first = stored.call("list", "--limit", "1").out.splitlines()
    assert first[-1] == f"more: --cursor {stored.waiting}"
    page = json.loads(stored.call("list", "--cursor", stored.waiting, "--json").out)
    assert ([run["kumofire_job_run_id"] for run in page["runs"]], page["cursor"]) == ([stored.failed], None)


def test_times_are_local_unless_utc_is_asked_for(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        shown = {way: stored.call("show", stored.failed, *way).out for way in ((), ("--utc",))}
    finally:
        monkeypatch.undo()
        time.tzset()
    found = {way: re.search(r"^created +(\S+ \S+) (\w+)$", text, re.MULTILINE) for way, text in shown.items()}
    local, utc = found[()], found[("--utc",)]
    assert local is not None
    assert utc is not None
    assert (local[2], utc[2]) == ("JST", "UTC")
    ahead = datetime.fromisoformat(local[1]) - datetime.fromisoformat(utc[1])
    assert ahead == timedelta(hours=9)


def test_a_run_is_cancelled_with_who_and_why_in_its_history(stored: Stored) -> None:
    done = stored.call("cancel", stored.waiting, "--by", "ann", "--note", "a mistake")
    assert done == Done(0, f"{stored.waiting}  canceled\n")
    last = stored.history(stored.waiting)[-1]
    assert (last["event"], last["state"]) == ("cancel", "canceled")
    assert last["facts"] == {"by": "ann", "note": "a mistake"}
    assert stored.call("cancel", stored.waiting).code == 0, "twice is harmless"


def test_a_failed_run_is_run_again_and_json_has_its_status(stored: Stored) -> None:
    done = stored.call("redrive", stored.failed, "--by", "ann", "--json")
    status = json.loads(done.out)
    assert (done.code, status["state"], status["attempt"], status["last_error"]) == (0, "ready", 0, None)
    assert status["history"][-1]["facts"] == {"by": "ann"}


def test_a_run_is_rescheduled_and_its_history_says_who_although_it_stays_in_its_state(stored: Stored) -> None:
    at = "2099-01-01T00:00:00"
    done = stored.call("reschedule", stored.waiting, "--at", at, "--utc", "--by", "ann", "--note", "at night")
    assert done == Done(0, f"{stored.waiting}  ready\n")
    status = json.loads(stored.call("show", stored.waiting, "--json").out)
    assert datetime.fromisoformat(status["run_at"]) == datetime(2099, 1, 1, tzinfo=UTC)
    last = status["history"][-1]
    assert (last["event"], last["state"], last["facts"]) == (
        "reschedule", "ready", {"by": "ann", "note": "at night"},
    )  # fmt: skip
    assert stored.call("reschedule", stored.waiting, "--in", "2h").code == 0


def test_an_event_of_people_is_fired(stored: Stored) -> None:
    assert stored.call("fire", stored.failed, "redrive").out == f"{stored.failed}  ready\n"


def test_watch_prints_each_move_once_and_says_by_its_exit_code_how_it_ended(stored: Stored) -> None:
    done = stored.call("watch", stored.failed)
    events = ["create", "enqueue", "start", "fail"]
    assert (done.code, [line.split()[1] for line in done.out.splitlines()]) == (1, events)
    lines = [json.loads(line) for line in stored.call("watch", stored.failed, "--json").out.splitlines()]
    assert [line["event"] for line in lines] == events


def test_watch_follows_a_run_to_its_end(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pause of the watch, somebody else moves the run on."""
    moves = iter(("reschedule", "cancel"))
    other = Kumofire()

    async def pause(seconds: float) -> None:
        async with other.open(stored.folder / "jobs.db") as jobs:
            move = next(moves)
            await (
                jobs.cancel(stored.waiting) if move == "cancel" else jobs.reschedule(stored.waiting, delay=9)
            )

    with monkeypatch.context() as patch:
        patch.setattr("kumofire_fsm.cli.runs._pause", pause)
        done = stored.call("watch", stored.waiting)
    assert done.code == 1
    assert [line.split()[1] for line in done.out.splitlines()] == ["create", "reschedule", "cancel"]


@pytest.mark.parametrize("between", [1, 7, 100])
def test_watch_tells_every_move_that_it_can_of_a_history_that_is_cut(
    stored: Stored, monkeypatch: pytest.MonkeyPatch, between: int
) -> None:
    """So many moves lie between two looks; of a hundred, most are cut before anybody looks."""
    other, numbers = Kumofire(), iter(range(200))

    async def pause(seconds: float) -> None:
        async with other.open(stored.folder / "jobs.db") as jobs:
            for number in itertools.islice(numbers, between):
                await jobs.reschedule(stored.waiting, delay=9, note=f"{number}/{'x' * 900}")
            if next(numbers, None) is None:
                await jobs.cancel(stored.waiting)

    with monkeypatch.context() as patch:
        patch.setattr("kumofire_fsm.cli.runs._pause", pause)
        lines = [json.loads(line) for line in stored.call("watch", stored.waiting, "--json").out.splitlines()]
    told = [int(line["facts"]["note"].split("/")[0]) for line in lines if line["event"] == "reschedule"]
    cuts = sum(line["event"] == "truncated" for line in lines)
    assert (lines[0]["event"], lines[-1]["event"]) == ("create", "cancel")
    assert told == sorted(set(told)), "each once, in order"
    everything = [number for number in range(200) if (number + 1) % (between + 1)]
    assert (told == everything, cuts) == ((True, 0) if between < 100 else (False, 2))


BAD = {
    "an unknown run": (["cancel", "0198c0de-0000-7000-8000-000000000000"], "no run has the id"),
    "an illegal event": (["redrive", "{waiting}"], "'redrive' is not allowed from 'ready'"),
    "an event of consumers": (["fire", "{waiting}", "succeed"], "is fired by consumers and deadlines only"),
    "an unknown event": (["fire", "{waiting}", "nothing"], "the event 'nothing' is unknown"),
    "no time": (["reschedule", "{waiting}"], "say when it is to run: --at TIME or --in DURATION"),
    "two times": (["reschedule", "{waiting}", "--at", "2099-01-01", "--in", "2h"], "say when it is to run"),
    "a bad time": (["reschedule", "{waiting}", "--at", "soon"], "--at must be an ISO time"),
    "a bad duration": (["reschedule", "{waiting}", "--in", "2 years"], "--in must be a duration such as 90s"),
    "a bad state": (["list", "--state", "lost"], "does not know the state 'lost'"),
    "a time before all zones": (["reschedule", "{waiting}", "--at", "0001-01-01T00:00"], "--at "),
    "a long duration": (["list", "--older-than", "999999w"], "--older-than is longer than 1,000 years"),
    "a relative module": (["list", "--app", ".shop:app"], "'.shop:app' must be MODULE:APP"),
    "no module but dots": (["list", "--app", "..:app"], "'..:app' must be MODULE:APP"),
    "a bad limit": (["list", "--limit", "501"], "limit must be an integer from 1 to 500"),
    "a bad cursor": (["list", "--cursor", "x"], "cursor must be what the page before gave"),
    "a bad pause": (["watch", "{waiting}", "--every", "0"], "--every must be more than 0 seconds"),
    "a bad application": (["list", "--app", "nothing"], "'nothing' must be MODULE:APP"),
    "a note that is too long": (["cancel", "{waiting}", "--note", "n" * 1100], "by and note have"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_line_and_exit_code_2_and_nothing_is_changed(stored: Stored, what: str) -> None:
    arguments, said = BAD[what]
    before = stored.history(stored.waiting)
    done = stored.call(*(each.format(waiting=stored.waiting) for each in arguments))
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert said in done.err
    assert stored.history(stored.waiting) == before


@pytest.mark.parametrize("command", ["list", "show x", "watch x", "cancel x", "redrive x", "fire x y"])
def test_no_command_makes_a_file(tmp_path: Path, command: str) -> None:
    done = kumofire(tmp_path, "runs", *command.split(), "--db", "none.db")
    assert (done.code, "there is no database 'none.db'" in done.err) == (2, True)
    assert list(tmp_path.iterdir()) == []


SHOP = """
from kumofire_fsm import Kumofire, RunMachine
from kumofire_fsm.machines import Event, Role, State

app = Kumofire()

class Reviewed(RunMachine, machine="reviewed"):
    review = State(role=Role.WAITING, waits=True)
    ask = Event(RunMachine.ready.to(review))
    drop = Event(review.to(RunMachine.canceled))

@app.job("pay", machine=Reviewed)
def pay(ctx): ...
"""


@pytest.fixture
def shop(folder: Folder) -> Iterator[tuple[Folder, str]]:
    (folder.path / "review_shop.py").write_text(SHOP)
    from kumofire_fsm.cli.loading import load_app

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder.path)
        app = load_app("review_shop:app")
        with app.open_sync("jobs.db") as jobs:
            yield folder, jobs.create("pay", delay=3600).kumofire_job_run_id


def test_a_run_of_a_lifecycle_of_your_own_is_looked_at_without_and_moved_with_the_application(
    shop: tuple[Folder, str],
) -> None:
    folder, run_id = shop
    on = ("--db", "jobs.db")
    assert "pay" in kumofire(folder.path, "runs", "list", *on).out
    assert kumofire(folder.path, "runs", "show", run_id, *on).code == 0
    refused = kumofire(folder.path, "runs", "cancel", run_id, *on)
    assert (refused.code, refused.err.strip().endswith("say where its application is: --app MODULE:APP")) == (
        2, True,
    )  # fmt: skip
    of = (*on, "--app", "review_shop:app")
    assert kumofire(folder.path, "runs", "fire", run_id, "ask", *of).out == f"{run_id}  review\n"
    assert kumofire(folder.path, "runs", "fire", run_id, "drop", *of).out == f"{run_id}  canceled\n"
