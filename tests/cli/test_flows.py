"""Commands on flows: their picture with counts, the path of an instance, lint, and the way to a later version."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from app_versions import PARCEL
from commands import kumofire

from kumofire_fsm import Kumofire


@pytest.fixture
def folder(tmp_path: Path) -> tuple[Path, list[str]]:
    first = PARCEL.format(version="", stored="stored")
    (tmp_path / "shop.py").write_text(first)
    (tmp_path / "draft.py").write_text(PARCEL.format(version=", version=2", stored="waiting_"))
    (tmp_path / "later.py").write_text(
        PARCEL.format(version=', version=2, was={"stored": "waiting_"}', stored="waiting_")
    )
    scope: dict[str, object] = {"__name__": "shop"}
    exec(first, scope)

    async def fill() -> list[str]:
        app = scope["app"]
        assert isinstance(app, Kumofire)
        async with app.open(tmp_path / "jobs.db") as jobs:
            ids = [(await jobs.create("parcel", {"number": n})).kumofire_job_run_id for n in range(3)]
            await jobs.signal(ids[0], "hand_over", by="ana")
            return ids

    return tmp_path, asyncio.run(fill())


def test_a_flow_is_drawn_with_how_many_are_at_each_step(folder: tuple[Path, list[str]]) -> None:
    where, _ = folder
    assert kumofire(where, "diagram", "shop:Parcel", "-o", "plain.svg").code == 0
    done = kumofire(where, "diagram", "shop:Parcel", "--db", "jobs.db", "--counts", "-o", "counts.svg")
    assert done.code == 0
    drawn = (where / "counts.svg").read_text()
    assert all(text in drawn for text in ("stored", "sent", ">2<", ">1<"))


def test_the_path_of_an_instance_is_shown_and_drawn(folder: tuple[Path, list[str]]) -> None:
    where, (run_id, *_) = folder
    done = kumofire(where, "runs", "show", run_id, "--db", "jobs.db")
    assert "step          sent" in done.out
    show = ("runs", "show", run_id, "--db", "jobs.db", "--diagram", "path.svg", "--machine")
    assert kumofire(where, *show, "shop:Parcel").code == 0
    assert "sent" in (where / "path.svg").read_text()
    refused = kumofire(where, *show, "later:Parcel")
    assert (refused.code, "'parcel@1', and not 'parcel@2'" in refused.err) == (2, True)


def test_a_flow_s_instances_are_planned_for_refused_and_moved(folder: tuple[Path, list[str]]) -> None:
    where, _ = folder
    plan = ("--plan", "--db", "jobs.db")
    done = kumofire(where, "machine", "migrate", "draft:app", *plan)
    assert (done.code, done.out.splitlines()[0]) == (1, "parcel v1 -> v2: 2 live")
    assert done.out.splitlines()[-1] == "refused"
    assert kumofire(where, "migrate", "later:app", "--db", "jobs.db").code == 0
    done = kumofire(where, "machine", "migrate", "later:app", *plan)
    assert (done.code, done.out.splitlines()[-1]) == (0, "nothing stands in the way")
    done = kumofire(where, "machine", "migrate", "later:app", "--db", "jobs.db")
    assert (done.code, done.out.splitlines()[-1]) == (0, "moved 2")
    done = kumofire(where, "machine", "migrate", "later:app", "--db", "jobs.db")
    assert done.out.splitlines() == ["parcel v2: no instance of a version before", "moved 0"]


def test_a_plan_and_a_move_are_json_too(folder: tuple[Path, list[str]]) -> None:
    where, _ = folder
    of = ("--db", "jobs.db", "--json")
    refused = kumofire(where, "machine", "migrate", "draft:app", *of)
    told = json.loads(refused.out)
    (plan,) = told.pop("flows")
    assert (refused.code, told) == (1, {"refused": True, "moved": None})
    assert plan["steps"] == [{"machine": "parcel@1", "step": "stored", "number": 2, "to": None}]
    assert kumofire(where, "migrate", "later:app", "--db", "jobs.db").code == 0
    planned = json.loads(kumofire(where, "machine", "migrate", "later:app", "--plan", *of).out)
    assert planned == {
        "flows": [
            {
                "flow": "parcel", "version": 2, "live": 2,
                "steps": [{"machine": "parcel@1", "step": "stored", "number": 2, "to": "waiting_"}],
                "data": {"checked": 2, "bad": 0, "first_error": None},
                "lost_undo": {}, "under_way": 0, "refused": False,
            }
        ],
        "refused": False, "moved": None,
    }  # fmt: skip
    done = json.loads(kumofire(where, "machine", "migrate", "later:app", *of).out)
    assert (done["refused"], done["moved"]) == (False, 2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "say which database: --db FILE, or --d1 NAME with --local or --remote"),
        (("--local",), "give --db FILE, or --d1 NAME with one of --local and --remote"),
        (("--db", "jobs.db", "--remote"), "give --db FILE, or --d1 NAME"),
        (("--db", "nothing.db"), "there is no database 'nothing.db'"),
    ],
)
def test_where_to_migrate_is_said_once(
    folder: tuple[Path, list[str]], options: tuple[str, ...], said: str
) -> None:
    done = kumofire(folder[0], "machine", "migrate", "later:app", *options)
    assert (done.code, said in done.err) == (2, True)


def test_an_instance_is_told_something_from_a_shell(folder: tuple[Path, list[str]]) -> None:
    where, (_, run_id, _) = folder
    source = (where / "shop.py").read_text().replace("takes=None", "takes=Data")
    (where / "shop.py").write_text(source)
    of = ("--db", "jobs.db", "--app", "shop:app")
    for value, why in (
        ([], "does not validate"),
        (['{"number": "x"}'], "does not validate"),
        (["{"], "must be JSON"),
    ):
        refused = kumofire(where, "runs", "signal", run_id, "hand_over", *value, *of)
        assert (refused.code, why in refused.err) == (2, True)
    refused = kumofire(where, "runs", "fire", run_id, "hand_over", *of)
    assert (refused.code, "carries something" in refused.err) == (2, True)
    done = kumofire(where, "runs", "signal", run_id, "hand_over", '{"number": 1}', "--by", "ana", *of)
    assert (done.code, done.out) == (0, f"{run_id}  succeeded\n")


LEADS_TO_APP = "say where its application is: --app MODULE:APP"
WITHOUT_APP = {
    "list --state parked": "does not know the state 'parked'",
    "cancel --state parked --yes": "does not know the state 'parked'",
    "fire {run} hand_over": "run {run} follows the machine 'parcel@1', which this application does not know",
    "signal {run} hand_over": "run {run} follows the machine 'parcel@1', which this application does not know",
    "cancel {run}": "run {run} follows the machine 'parcel@1', which this application does not know",
    "redrive {run} --step stored": "run {run} follows the machine 'parcel@1', which this application does not",
}


@pytest.mark.parametrize("command", WITHOUT_APP)
def test_what_takes_the_application_says_so_and_is_done_with_it(
    folder: tuple[Path, list[str]], command: str
) -> None:
    where, (_, run_id, _) = folder
    arguments = [each.format(run=run_id) for each in command.split()]
    refused = kumofire(where, "runs", *arguments, "--db", "jobs.db")
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert WITHOUT_APP[command].format(run=run_id) in refused.err
    assert refused.err.endswith(f"; {LEADS_TO_APP}\n")


def test_with_an_application_nothing_leads_to_one(folder: tuple[Path, list[str]]) -> None:
    where, (_, run_id, _) = folder
    of = ("--db", "jobs.db", "--app", "shop:app")
    assert run_id in kumofire(where, "runs", "list", "--state", "parked", *of).out
    refused = kumofire(where, "runs", "list", "--state", "lost", *of)
    assert (refused.code, "the state 'lost'" in refused.err, LEADS_TO_APP in refused.err) == (2, True, False)


def test_the_application_is_enough_to_draw_the_path_of_a_run(folder: tuple[Path, list[str]]) -> None:
    where, (run_id, *_) = folder
    show = ("runs", "show", run_id, "--db", "jobs.db", "--diagram", "path.svg")
    refused = kumofire(where, *show)
    assert (refused.code, refused.err.endswith("--app MODULE:APP, or its class: --machine MODULE:CLASS\n")) == (
        2, True,
    )  # fmt: skip
    assert kumofire(where, *show, "--app", "shop:app").code == 0
    assert "sent" in (where / "path.svg").read_text()


def test_a_redrive_of_all_that_match_says_that_instances_at_an_end_were_refused(
    folder: tuple[Path, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    where, (_, run_id, other) = folder
    ended = """
    lost = End("Nobody knows where it is.", Outcome.FAILURE)
    mislay = Signal(stored.to(lost), takes=None)
"""
    source = (where / "shop.py").read_text()
    source = source.replace(
        "import End",
        "import Flow\nfrom kumofire_fsm.machines import Outcome\nfrom kumofire_fsm.flows import End",
    )
    (where / "shop.py").write_text(source.replace("\napp = ", f"{ended}\napp = "))
    of = ("--db", "jobs.db", "--app", "shop:app")
    assert kumofire(where, "migrate", "shop:app", "--db", "jobs.db").code == 0
    for each in (run_id, other):
        assert kumofire(where, "runs", "signal", each, "mislay", *of).out == f"{each}  failed\n"
    done = kumofire(where, "runs", "redrive", "--job", "parcel", "--yes", *of)
    assert (done.code, done.out) == (0, "redrive: 0 of 2 runs: 2 failed; 2 were refused, as the log says\n")
    assert "is at an end of its flow: say at which step it goes on, stored" in caplog.text
    caplog.clear()
    done = kumofire(where, "runs", "redrive", "--job", "parcel", "--yes", "--db", "jobs.db")
    assert done.out == (
        "redrive: 0 of 2 runs: 2 failed; 2 were refused, as the log says: flows and lifecycles of your own "
        "take --app MODULE:APP\n"
    )
    assert "follows the machine 'parcel@1', which this application does not know" in caplog.text
