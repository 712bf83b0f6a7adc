"""``kumofire diagram`` and ``kumofire runs show``, as a user calls them."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kumofire_fsm import Fail, InvalidArgument, JobMachine, Kumofire, RunMachine, UnknownRun, diagram
from kumofire_fsm.cli.commands import cli
from kumofire_fsm.cli.loading import load_app

OWN = """
from kumofire_fsm.machines import Event, State, Role, RunMachine
class ApprovedRun(RunMachine):
    approval = State("Somebody must approve it.", role=Role.WAITING, waits=True, initial=True)
    approve = Event(approval.to(RunMachine.ready))
number = 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A current folder with a module that declares a lifecycle."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "shop_machines.py").write_text(OWN)
    yield tmp_path
    sys.modules.pop("shop_machines", None)


@pytest.fixture
def call(folder):
    """Run a command in this process; return its output."""

    def invoke(*arguments: str) -> str:
        done = CliRunner().invoke(cli, arguments)
        if done.exception is not None:
            raise done.exception
        return done.output

    return invoke


@pytest.fixture
def stored(folder) -> tuple[str, str]:
    """Return the ids of a run that failed at its second attempt and of one that waits, in jobs.db.

    A worker starts a run where it lies, or enqueues it first, whichever it comes to.
    """
    app = Kumofire()

    @app.job("ship", max_attempts=2, retry=lambda attempt, error: 0.0)
    async def ship(ctx, order: int) -> None:
        await ctx.heartbeat(progress={"percent": 50})
        if ctx.attempt == 2:
            raise Fail("no such <order>")
        raise ValueError("not yet")

    async def live() -> tuple[str, str]:
        async with app.open("jobs.db", synchronous="OFF") as jobs:
            worker = asyncio.create_task(jobs.run())
            first = (await jobs.create("ship", 1, tags=["blue", "small"])).kumofire_job_run_id
            await jobs.wait(first, timeout=600)
            second = (await jobs.create("ship", 2, delay=3600)).kumofire_job_run_id
            await jobs.create_schedule("ship", 3, every=3600)
            worker.cancel()
            await asyncio.wait([worker])
            return first, second

    return asyncio.run(live())


@pytest.mark.parametrize(("name", "machine"), [("RunMachine", RunMachine), ("JobMachine", JobMachine)])
def test_a_built_in_lifecycle_is_drawn_on_the_standard_output(call, name, machine):
    assert call("diagram", name) == diagram(machine)
    assert call("diagram", name, "--format", "dot") == diagram(machine, format="dot")


@pytest.mark.parametrize(
    ("suffix", "form"),
    [
        ("svg", "svg"),
        ("PNG", "png"),
        ("dot", "dot"),
        ("gv", "dot"),
        ("mmd", "mermaid"),
        ("mermaid", "mermaid"),
        ("md", "md"),
    ],
)
def test_the_format_follows_the_files_suffix_and_the_same_word_names_it(call, folder, suffix, form):
    made = diagram(RunMachine, format=form)
    data = made if form == "png" else made.encode()
    assert call("diagram", "RunMachine", "-o", f"out.{suffix}") == ""
    assert (folder / f"out.{suffix}").read_bytes() == data
    assert call("diagram", "RunMachine", "-o", "named", "--format", suffix) == ""
    assert (folder / "named").read_bytes() == data


def test_a_lifecycle_of_ones_own_is_drawn(call, folder):
    call("diagram", "shop_machines:ApprovedRun", "-o", "own.svg", "--title", "Ours", "--theme", "dark")
    shown = (folder / "own.svg").read_text()
    assert ">approve</text>" in shown
    assert ">Ours</text>" in shown
    assert "prefers-color-scheme" not in shown


def test_every_detail_is_shown_if_asked_for(call):
    for form in ("svg", "dot", "mermaid"):
        shown = call("diagram", "RunMachine", "--detail", "--format", form)
        assert shown == diagram(RunMachine, format=form, detail=True) != diagram(RunMachine, format=form)


def test_what_a_png_shows_as_boxes_is_said_on_the_standard_error(folder):
    command = [sys.executable, "-m", "kumofire_fsm.cli", "diagram", "RunMachine", "--title", "運行"]
    done = subprocess.run([*command, "-o", "out.png"], capture_output=True, text=True, check=True)
    said = "kumofire: warning: the bundled engine has no font for 運 行, and shows boxes in this PNG; draw an SVG,"
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1
    assert (folder / "out.png").read_bytes().startswith(b"\x89PNG")
    done = subprocess.run([*command, "-o", "out.svg"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_counts_are_read_from_a_database(call, stored):
    shown = call("diagram", "RunMachine", "--db", "jobs.db", "--counts")
    expected = dict.fromkeys((s.id for s in RunMachine.spec.states), 0) | {"ready": 1, "failed": 1}
    assert shown == diagram(RunMachine, counts=expected)
    shown = call("diagram", "JobMachine", "--db", "jobs.db", "--counts")
    expected = dict.fromkeys((s.id for s in JobMachine.spec.states), 0) | {"active": 1}
    assert shown == diagram(JobMachine, counts=expected)


def test_a_database_alone_is_counted_too(call, stored):
    shown = call("diagram", "RunMachine", "--db", "jobs.db")
    assert shown == call("diagram", "RunMachine", "--db", "jobs.db", "--counts")
    assert shown != call("diagram", "RunMachine")


def test_the_title_is_the_machines_name_in_words(call, texts):
    assert "The lifecycle of an approved run" in texts(call("diagram", "shop_machines:ApprovedRun"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["RunMachin"], "'RunMachin' must be RunMachine or JobMachine or MODULE:CLASS, such as"),
        (
            ["shop_machines:Nothing"],
            "the module 'shop_machines' has no 'Nothing'; it has RunMachine, ApprovedRun",
        ),
        (["shop_machines:number"], "'shop_machines:number' is 3, and not a lifecycle"),
        (["no_such_module:X"], "'no_such_module' cannot be imported"),
        (["RunMachine", "-o", "x.gif"], "no format is known for 'x.gif'; end it in .svg, .png,"),
        (
            ["RunMachine", "--format", "gif"],
            "--format must be svg, png, dot, gv, mmd, mermaid, md; found 'gif'",
        ),
        (["RunMachine", "--format", ""], "--format must be svg, png, dot, gv, mmd, mermaid, md; found ''"),
        (["RunMachine", "-o", "no/such/x.svg"], "no/such/x.svg cannot be written: No such file or directory"),
        (["RunMachine", "--counts"], "--counts reads a database; say which with --db"),
        (["RunMachine", "--counts", "--db", "no.db"], "there is no database 'no.db'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, folder, arguments, said):
    with pytest.raises(InvalidArgument, match=re.escape(said)):
        call("diagram", *arguments)
    assert not (folder / "no.db").exists()


def test_a_refusal_is_one_line_and_exit_code_2():
    command = [sys.executable, "-m", "kumofire_fsm.cli", "diagram", "Nothing"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("kumofire: 'Nothing' must be RunMachine or JobMachine or")
    assert done.stderr.count("\n") == 1


def test_a_run_is_shown_for_people(call, stored):
    shown = call("runs", "show", stored[0], "--db", "jobs.db", "--utc")
    facts, moves = shown.split("\n\nhistory\n")
    lines = dict(re.findall(r"^(\w[\w ]*?)  +(.*)$", facts, re.MULTILINE))
    assert {k: lines[k] for k in ("run", "job", "state", "attempt", "tags", "progress")} == {
        "run": stored[0],
        "job": "ship",
        "state": "failed (settled)",
        "attempt": "2 of 2",
        "tags": "blue, small",
        "progress": '{"percent": 50}',
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC", lines["finished"])
    assert "no such <order>" in lines["error"]
    assert [line[6:30].split() for line in moves.splitlines() if "enqueue" not in line] == [
        ["create", "ready"],
        ["start", "running"],
        ["retry", "retrying"],
        ["start", "running"],
        ["fail", "failed"],
    ]


def test_what_is_not_set_is_not_shown(call, stored):
    facts, _ = call("runs", "show", stored[1], "--db", "jobs.db").split("\n\nhistory\n")
    assert [line[:13].strip() for line in facts.splitlines()] == [
        "run", "job", "state", "attempt", "created", "to run at",
    ]  # fmt: skip


def test_a_run_is_shown_as_json(call, stored):
    shown = json.loads(call("runs", "show", stored[0], "--db", "jobs.db", "--json"))
    assert (shown["kumofire_job_run_id"], shown["state"], shown["settled"]) == (stored[0], "failed", True)
    events = [entry["event"] for entry in shown["history"] if entry["event"] != "enqueue"]
    assert events == ["create", "start", "retry", "start", "fail"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", shown["created_at"])


def test_the_path_of_a_run_is_drawn(call, stored, folder, texts):
    call("runs", "show", stored[0], "--db", "jobs.db", "--diagram", "path.svg")
    shown = texts((folder / "path.svg").read_text())
    assert f"ship: {stored[0]}" in shown
    assert {"1", "2", "3", "4", "5", "create", "retry", "fail"} <= set(shown)
    assert "redrive" not in shown


def test_looking_changes_nothing_and_an_unknown_run_is_an_error(call, stored, folder):
    before = (folder / "jobs.db").read_bytes()
    with pytest.raises(UnknownRun):
        call("runs", "show", stored[0][:-4] + "0000", "--db", "jobs.db")
    call("runs", "show", stored[0], "--db", "jobs.db")
    assert (folder / "jobs.db").read_bytes() == before


def test_a_run_in_a_file_that_is_not_there_is_an_error(call, folder):
    with pytest.raises(InvalidArgument, match=r"there is no database 'none\.db'"):
        call("runs", "show", "x", "--db", "none.db")
    assert not (folder / "none.db").exists()


def test_an_svg_from_a_command_is_whole(call):
    ET.fromstring(call("diagram", "RunMachine"))


PAY = (
    OWN
    + """
from kumofire_fsm import Kumofire
app = Kumofire()
app.job("pay", machine=ApprovedRun)(lambda ctx: None)
"""
)


def test_the_path_of_a_run_is_drawn_on_the_machine_that_it_follows(call, folder, texts):
    (folder / "shop_machines.py").write_text(PAY)
    with load_app("shop_machines:app").open_sync("jobs.db") as jobs:
        run_id = jobs.create("pay").kumofire_job_run_id
        jobs.fire(run_id, "approve")
    show = ("runs", "show", run_id, "--db", "jobs.db", "--diagram", "path.svg")
    said = (
        f"run {run_id} of job 'pay' follows the machine 'approved_run', and not 'run'; to draw it, name "
        "the application that has it: --app MODULE:APP, or its class: --machine MODULE:CLASS"
    )
    with pytest.raises(InvalidArgument, match=re.escape(said)):
        call(*show)
    call(*show, "--machine", "shop_machines:ApprovedRun")
    assert {"approval", "approve"} <= set(texts((folder / "path.svg").read_text()))
