"""Fires an event on all runs of a database that match a filter: a count first, then a yes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kumofire_fsm.cli.echo import echo
from kumofire_fsm.cli.place import Place, acting, looking
from kumofire_fsm.cli.questions import ask
from kumofire_fsm.cli.texts import duration_of, json_of
from kumofire_fsm.errors import InvalidArgument

if TYPE_CHECKING:
    from kumofire_fsm.reports import FiredAll, Matched

__all__ = ["act_on_all", "filters_of"]


def filters_of(
    job: str | None, states: list[str] | None, tag: str | None, older_than: str | None, error: str | None
) -> dict[str, Any]:
    """Return what runs are filtered by, as the API takes it; only what was given."""
    before = None if older_than is None else datetime.now(UTC) - duration_of(older_than, "--older-than")
    given = {"name": job, "state": states or None, "tag": tag, "created_before": before, "error": error}
    return {name: value for name, value in given.items() if value is not None}


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
    echo(_json(matched, done) if as_json else _text(matched, done))


def _text(matched: Matched, done: FiredAll) -> str:
    beside = [
        f"{done.left:,} had moved on meanwhile" if done.left else "",
        f"{done.refused:,} were refused, as the log says" if done.refused else "",
        "there are more: run the command again" if matched.more else "",
    ]
    return "; ".join([f"{matched.event}: {done.moved:,} of {matched}", *filter(None, beside)])


def _json(matched: Matched, done: FiredAll) -> str:
    told = {"event": matched.event, "matched": len(matched.run_ids), "by_state": dict(matched.by_state)}
    return json_of(
        {**told, "more": matched.more, "moved": done.moved, "left": done.left, "refused": done.refused}
    )
