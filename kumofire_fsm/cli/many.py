"""Acts on many runs of a database, after a yes: fires an event on all that match, or prunes by age."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kumofire_fsm.cli.options import App, AsJson, ErrorText, Job, OlderThan, States, Tag, Yes, taking
from kumofire_fsm.cli.place import NAMES_APP, Place, acting, looking, on_database
from kumofire_fsm.cli.terminal import ask, echo
from kumofire_fsm.cli.texts import duration_of, json_of
from kumofire_fsm.errors import InvalidArgument

if TYPE_CHECKING:
    from kumofire_fsm.jobs import Jobs
    from kumofire_fsm.reports import FiredAll, Matched

__all__ = [
    "act_on_all",
    "filtered",
    "prune_command",
]


def _filters(
    job: Job = None,
    state: States = None,
    tag: Tag = None,
    older_than: OlderThan = None,
    error: ErrorText = None,
) -> dict[str, Any]:
    """Return what runs are filtered by, as the API takes it; only what was given."""
    before = None if older_than is None else datetime.now(UTC) - duration_of(older_than, "--older-than")
    given = {"name": job, "state": state or None, "tag": tag, "created_before": before, "error": error}
    return {name: value for name, value in given.items() if value is not None}


_OPTIONS = inspect.signature(_filters, eval_str=True).parameters
"""What a command takes in the stead of its ``filters``."""


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that filter runs, as its argument ``filters``."""

    @wraps(command)
    def run(**given: Any) -> None:
        filters = _filters(**{name: given.pop(name) for name in _OPTIONS})
        command(**given, filters=filters)

    run.__signature__ = taking(command, "filters", _OPTIONS)  # type: ignore[attr-defined]  # typer reads it
    return run


def act_on_all(
    event: str,
    where: Place,
    app: str | None,
    filters: dict[str, Any],
    *,
    every: bool,
    yes: bool,
    as_json: bool,
    **what: Any,
) -> None:
    """Count the runs that match, ask, and fire the event on those that were counted.

    Args:
        event: what is fired.
        where, app: on which database, and where the application is.
        filters: which runs.
        every: whether all are meant where there is no filter.
        yes: whether to do it without a question.
        as_json: whether to tell it as JSON.
        what: the other arguments of `fire_all`.

    Raises:
        InvalidArgument: no filter is given, or nobody can be asked; nothing was changed.
    """
    if not filters and not every:
        raise InvalidArgument(
            f"say what to {event}: an ID, runs by --job, --state, --tag, --older-than and --error, or --all"
        )
    matched = looking(where, app, lambda jobs: jobs.match_runs(event, **filters))
    if matched.run_ids and not yes:
        ask(f"{event} {matched}")
    done = acting(where, app, lambda jobs: jobs.fire_all(matched, **what))
    if done.moved:
        where.leave_to_tick()
    echo(_json(matched, done) if as_json else _text(matched, done, app))


def _text(matched: Matched, done: FiredAll, app: str | None) -> str:
    lacks = "" if app else f": flows and lifecycles of your own take {NAMES_APP}"
    beside = [
        f"{done.left:,} had moved on meanwhile, or have a lifecycle without it" if done.left else "",
        f"{done.refused:,} were refused, as the log says{lacks}" if done.refused else "",
        "there are more: run the command again" if matched.more else "",
    ]
    return "; ".join([f"{matched.event}: {done.moved:,} of {matched}", *filter(None, beside)])


def _json(matched: Matched, done: FiredAll) -> str:
    told = {"event": matched.event, "matched": len(matched.run_ids), "by_state": dict(matched.by_state)}
    return json_of(
        {**told, "more": matched.more, "moved": done.moved, "left": done.left, "refused": done.refused}
    )


CHUNK = 1_000


@on_database()
def prune_command(
    where: Place,
    older_than: Annotated[str, typer.Option(help="Settled longer ago than this: 90s, 15m, 2h, 7d, 1w.")],
    yes: Yes = False,
    app: App = None,
    as_json: AsJson = False,
) -> None:
    """Delete runs that settled longer ago than that, 1,000 in a transaction; their dedupe keys are free."""
    age = duration_of(older_than, "--older-than")
    if not yes:
        ask(f"delete every run that settled more than {older_than} ago, for good")
    deleted = acting(where, app, lambda jobs: _prune(jobs, age))
    echo(json_of({"deleted": deleted}) if as_json else f"deleted {deleted:,} runs")


async def _prune(jobs: Jobs, age: timedelta) -> int:
    from kumofire_fsm.engine.pruning import prune_all
    from kumofire_fsm.values.times import duration_ms

    binding = jobs._binding
    return await prune_all(binding, binding.now() - duration_ms(age, "--older-than"), CHUNK)
