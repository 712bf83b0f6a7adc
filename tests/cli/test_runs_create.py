"""``kumofire runs create``: a run from the command line, with its options, and what it refuses."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from commands import Done, kumofire

from kumofire_fsm import Kumofire

SHOP = """
from kumofire_fsm import Kumofire

app = Kumofire()

@app.job("mail", key_limit=1)
def mail(ctx, payload: dict[str, str]): ...

@app.job("report")
def report(ctx): ...
"""


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without runs."""
    file = tmp_path_factory.mktemp("empty") / "jobs.db"
    with Kumofire().open_sync(file):
        return file


@pytest.fixture
def shop(tmp_path: Path, empty: Path) -> Path:
    (tmp_path / "create_shop.py").write_text(SHOP)
    shutil.copy(empty, tmp_path)
    return tmp_path


def create(folder: Path, *arguments: object, stdin: io.StringIO | None = None) -> Done:
    place = ["--db", "jobs.db", "--app", "create_shop:app"]
    return kumofire(folder, "runs", "create", *arguments, *place, stdin=stdin)


def shown(folder: Path, run_id: str) -> Any:
    found = kumofire(folder, "runs", "show", run_id, "--db", "jobs.db", "--app", "create_shop:app", "--json")
    return json.loads(found.out)


def number(folder: Path) -> int:
    return len(json.loads(kumofire(folder, "runs", "list", "--db", "jobs.db", "--json").out)["runs"])


def test_a_run_is_created_and_its_id_is_all_that_is_printed(shop: Path) -> None:
    done = create(shop, "report")
    run = shown(shop, done.out.strip())
    assert (done, run["name"], run["state"]) == (
        Done(0, f"{run['kumofire_job_run_id']}\n"),
        "report",
        "queued",
    )


def test_every_option_reaches_the_run(shop: Path) -> None:
    options = [
        "--at",
        "2099-01-01T00:30",
        "--utc",
        "--dedupe-key",
        "m1",
        "--priority",
        "low",
        "--max-attempts",
        7,
    ]
    done = create(
        shop, "mail", '{"to": "ana"}', *options, "--tag", "a", "--tag", "b", "--concurrency-key", "ana"
    )
    run = shown(shop, done.out.strip())
    assert {name: run[name] for name in ("payload", "run_at", "state", "dedupe_key", "priority")} == {
        "payload": {"to": "ana"},
        "run_at": "2099-01-01T00:30:00+00:00",
        "state": "ready",
        "dedupe_key": "m1",
        "priority": "low",
    }
    assert (run["tags"], run["concurrency_key"], run["max_attempts"]) == (["a", "b"], "ana", 7)


@pytest.mark.parametrize("payload", ["@mail.json", "-"])
def test_a_payload_comes_from_a_file_or_the_standard_input(shop: Path, payload: str) -> None:
    (shop / "mail.json").write_text('{"to": "büro"}', "utf-8")
    done = create(shop, "mail", payload, "--delay", "2h", stdin=io.StringIO('{"to": "büro"}'))
    run = shown(shop, done.out.strip())
    assert (run["payload"], run["state"]) == ({"to": "büro"}, "ready")


def test_a_dedupe_key_that_is_taken_gives_the_first_run_and_says_so(shop: Path) -> None:
    first = create(shop, "mail", '{"to": "ana"}', "--dedupe-key", "m1")
    said = "kumofire: a run with this dedupe key was there already"
    assert create(shop, "mail", '{"to": "ana"}', "--dedupe-key", "m1") == Done(0, first.out, f"{said}\n")
    other = ["mail", '{"to": "ben"}', "--dedupe-key", "m1"]
    assert create(shop, *other) == Done(0, first.out, f"{said}, and its payload is another\n")
    assert json.loads(create(shop, *other, "--json").out) == {
        "kumofire_job_run_id": first.out.strip(),
        "is_new": False,
        "payload_differs": True,
        "replaced": False,
    }
    assert number(shop) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "no job 'nothing' is registered; registered are: mail, report"),
        (
            ["mail", "{to: ana}"],
            "the payload must be JSON, and a text stands in quotes ('\"ana\"'): Expecting",
        ),
        (
            ["mail", "@none.json"],
            "the payload cannot be read: [Errno 2] No such file or directory: 'none.json'",
        ),
        (["mail", "-"], "the payload must be JSON"),
        (["mail", "7"], "the payload of 'mail' does not validate"),
        (
            ["report", "--delay", "soon"],
            "--delay must be a duration such as 90s, 15m, 2h, 7d or 1w; found 'soon'",
        ),
        (["report", "--at", "soon"], "--at must be an ISO time such as 2026-11-01T00:30; found 'soon'"),
        (["report", "--at", "2099-01-01", "--delay", "1h"], "give run_at or delay, and not both"),
        (["report", "--priority", "urgent"], "priority must be 'high', 'normal' or 'low'; found 'urgent'"),
        (["report", "--concurrency-key", "k"], "the job 'report' has no key_limit and no key_rate"),
        (["report", "--max-attempts", "0"], "max_attempts must be an integer from 1 on; found 0"),
    ],
)
def test_what_cannot_be_a_run_is_refused_and_nothing_is_stored(
    shop: Path, arguments: list[str], said: str
) -> None:
    done = create(shop, *arguments)
    assert (done.code, done.out, said in done.err) == (2, "", True), done.err
    assert number(shop) == 0


def test_a_file_that_is_not_there_is_not_made(shop: Path) -> None:
    done = kumofire(shop, "runs", "create", "report", "--db", "new.db", "--app", "create_shop:app")
    assert (done.code, done.err) == (2, "kumofire: there is no database 'new.db'\n")
    assert not (shop / "new.db").exists()
