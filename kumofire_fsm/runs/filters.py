"""What runs are filtered by, in a list or for a move of all that match."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypedDict, Unpack

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.handlers import JobName
from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.store.diagnosis import NOT_KNOWN
from kumofire_fsm.store.rows import LAST_ID
from kumofire_fsm.values.checks import check_options, is_listed
from kumofire_fsm.values.ids import first_id_at
from kumofire_fsm.values.jsontext import storable
from kumofire_fsm.values.printable import shown
from kumofire_fsm.values.times import instant_ms

__all__ = ["RunFilter", "run_filters"]


class RunFilter(TypedDict, total=False):
    """What runs are filtered by; the arguments of `list_runs`."""

    name: JobName | None
    state: str | Sequence[str] | None
    tag: str | None
    schedule_id: str | None
    concurrency_key: str | None
    created_before: datetime | None
    error: str | None


def run_filters(binding: Binding, **given: Unpack[RunFilter]) -> dict[str, Any]:
    """Return what runs are filtered by, checked, as the statements want it.

    Raises:
        InvalidArgument: a filter that does not exist, a state that no machine has, or what is no text.
    """
    check_options("match_runs", given, RunFilter.__annotations__)
    name, state = given.get("name"), given.get("state")
    texts: dict[str, Any] = {
        what: given.get(what) for what in ("tag", "schedule_id", "concurrency_key", "error")
    }
    for what, text in texts.items():
        if text is not None:
            storable(text, what)
    states = [state] if isinstance(state, str) else None if state is None else _texts(state)
    known = {s.id for spec in binding.runs.specs.values() for s in spec.states}
    for each in states or ():
        if not isinstance(each, str) or each not in known:
            raise InvalidArgument(
                f"{NOT_KNOWN} the state {shown(each)}; states are {', '.join(sorted(known))}"
            )
    created_before = given.get("created_before")
    before = LAST_ID
    if created_before is not None:
        before = first_id_at(instant_ms(created_before, "created_before"))
    return {
        "before": before,
        "names": None if name is None else binding.registry.names_of(name),
        "states": states,
        "tag": texts["tag"],
        "schedule": texts["schedule_id"],
        "key": texts["concurrency_key"],
        "error": texts["error"],
    }


def _texts(given: object) -> list[object]:
    if not is_listed(given):
        raise InvalidArgument(f"state must be a text or a list of texts; found {shown(given)}")
    return list(given)
