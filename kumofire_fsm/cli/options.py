"""The options that many commands share, each spelled once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = [
    "NOUN",
    "App",
    "AsJson",
    "By",
    "Config",
    "Create",
    "D1Name",
    "Database",
    "Environment",
    "ErrorText",
    "Every",
    "Job",
    "Local",
    "MakesRuns",
    "MaybeRunId",
    "Note",
    "OlderThan",
    "PersistTo",
    "Remote",
    "RunId",
    "ShowCost",
    "States",
    "Tag",
    "Utc",
    "Yes",
    "taking",
]

NOUN: dict[str, Any] = {"no_args_is_help": True, "rich_markup_mode": None}
"""How a group of commands is made; rich costs more to import than all else that a help needs."""
Database = Annotated[Path | None, typer.Option("--db", help="The SQLite file; workers may go on.")]
D1Name = Annotated[
    str | None,
    typer.Option(
        "--d1", metavar="NAME", help="Or the D1 database, by its name or binding, through wrangler."
    ),
]
Local = Annotated[bool, typer.Option("--local", help="Wrangler's local D1 database.")]
Remote = Annotated[bool, typer.Option("--remote", help="The D1 database at Cloudflare.")]
Config = Annotated[Path | None, typer.Option(help="D1: wrangler's configuration file.")]
Environment = Annotated[str | None, typer.Option("--env", help="D1: the configuration's environment.")]
PersistTo = Annotated[Path | None, typer.Option(help="D1, with --local: where wrangler keeps its databases.")]
ShowCost = Annotated[
    bool,
    typer.Option(
        "--cost", help="Tell how many statements were sent; with --remote also rows read and written."
    ),
]
App = Annotated[
    str | None,
    typer.Option(
        "--app",
        metavar="MODULE:APP",
        help="Where the Kumofire object is: for runs that follow a flow or a lifecycle of your own.",
    ),
]
MakesRuns = Annotated[
    str, typer.Option("--app", metavar="MODULE:APP", help="Where the Kumofire object is: it makes the run.")
]
Create = Annotated[bool, typer.Option("--create", help="Make the file if it does not exist.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON; its instants are UTC.")]
Utc = Annotated[bool, typer.Option("--utc", help="Show times in UTC, and not in the local zone.")]
By = Annotated[str | None, typer.Option(help="Who says so; kept in the history.")]
Note = Annotated[str | None, typer.Option(help="Why; kept in the history.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without a question.")]
RunId = Annotated[str, typer.Argument(metavar="ID", help="The kumofire_job_run_id.")]
MaybeRunId = Annotated[
    str | None, typer.Argument(metavar="[ID]", help="The kumofire_job_run_id; or a filter.")
]
Job = Annotated[str | None, typer.Option(help="Runs of this job.")]
States = Annotated[list[str] | None, typer.Option("--state", help="In this state; may be given again.")]
Tag = Annotated[str | None, typer.Option(help="With this tag.")]
OlderThan = Annotated[str | None, typer.Option(help="Created longer ago than this: 90s, 15m, 2h, 7d, 1w.")]
ErrorText = Annotated[str | None, typer.Option("--error", help="With this text in their latest error.")]
Every = Annotated[bool, typer.Option("--all", help="All runs that it is allowed for, without a filter.")]


def taking(
    command: Callable[..., None], instead: str, options: Mapping[str, inspect.Parameter]
) -> inspect.Signature:
    """Return the signature of a command for typer, with these options instead of one of its arguments."""
    taken = [
        option
        for each in inspect.signature(command, eval_str=True).parameters.values()
        for option in (options.values() if each.name == instead else [each])
    ]
    return inspect.Signature([each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in taken])
