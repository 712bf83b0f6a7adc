"""``kumofire runs create``: stores a run of a job that the application has."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from kumofire_fsm.cli.options import AsJson, MakesRuns, Utc
from kumofire_fsm.cli.place import Place, acting, on_database
from kumofire_fsm.cli.terminal import echo
from kumofire_fsm.cli.texts import duration_of, instant_of, json_of
from kumofire_fsm.errors import InvalidArgument

__all__ = ["create_command", "payload_of"]


@on_database()
def create_command(
    job: Annotated[str, typer.Argument(metavar="JOB", help="The name of a job or flow of the application.")],
    where: Place,
    app: MakesRuns,
    payload: Annotated[
        str | None,
        typer.Argument(metavar="[PAYLOAD]", help="JSON; @FILE reads it from a file, and - from the input."),
    ] = None,
    delay: Annotated[str | None, typer.Option(help="Not before this time: 90s, 15m, 2h, 7d, 1w.")] = None,
    at: Annotated[
        str | None, typer.Option(help="Not before this ISO time, on the local clock; with --utc in UTC.")
    ] = None,
    dedupe_key: Annotated[str | None, typer.Option(help="At most one run of the job with this key.")] = None,
    priority: Annotated[str | None, typer.Option(help="high, normal or low, instead of the job's.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="To list by; may be given again.")] = None,
    concurrency_key: Annotated[
        str | None, typer.Option(help="As many with this key run at once as the job says.")
    ] = None,
    max_attempts: Annotated[int | None, typer.Option(help="Instead of the job's own.")] = None,
    as_json: AsJson = False,
    utc: Utc = False,
) -> None:
    """Create a run of a job, and print its id; a worker of the database starts it.

    If a run has the dedupe key already, its id is printed, and a line on the standard error says so.
    """
    options: dict[str, Any] = {
        "delay": None if delay is None else duration_of(delay, "--delay"),
        "run_at": None if at is None else instant_of(at, "--at", utc=utc),
        "dedupe_key": dedupe_key,
        "priority": priority,
        "tags": tag,
        "concurrency_key": concurrency_key,
        "max_attempts": max_attempts,
    }
    given = None if payload is None else payload_of(payload)
    created = acting(where, app, lambda jobs: jobs.create(job, given, **options))
    where.leave_to_tick()
    echo(json_of(created) if as_json else created.kumofire_job_run_id)
    if not (as_json or created.is_new):
        differs = ", and its payload is another" if created.payload_differs else ""
        echo(f"kumofire: a run with this dedupe key was there already{differs}", err=True)


def payload_of(text: str) -> Any:
    """Return a payload.

    Raises:
        InvalidArgument: it is no JSON, or its file cannot be read.
    """
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text("utf-8")
        return json.loads(text)
    except OSError as exc:
        raise InvalidArgument(f"the payload cannot be read: {exc}") from exc
    except (ValueError, RecursionError) as exc:
        said = "the payload must be JSON, and a text stands in quotes ('\"ana\"')"
        raise InvalidArgument(f"{said}: {exc}") from exc
