"""Commands on flows: their picture with counts, the path of an instance, lint, and the way to a later version."""

from __future__ import annotations

import asyncio
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
