"""The SQL of a claim: it starts due runs, by the hints for them or by looking for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kumofire_fsm.machines.expression import Call, Name
from kumofire_fsm.machines.spec import MachineSpec, Role
from kumofire_fsm.store._bodies import payload_sql
from kumofire_fsm.store._branches import Branch
from kumofire_fsm.store._compiler import compare_and_set
from kumofire_fsm.store._due import oldest_sql
from kumofire_fsm.store._layout import select
from kumofire_fsm.store._selection import deadline_edges, event_edges, start_events
from kumofire_fsm.store.rows import STARTS_ALONE, ClaimedRun

__all__ = ["claim_by_hint", "claim_by_scan"]

_GIVEN: Final = ("now", "token", "facts", "alone", "timeout_ms", "lease_ms")
_RETURNING: Final = (*ClaimedRun._fields[:-1], payload_sql("id", "body"))
_ALONE: Final = "?1 ->> '$.alone'"


def claim_by_hint(specs: Sequence[MachineSpec]) -> str:
    """Return the SQL that starts the runs of these ids; expiry is left to the sweep.

    Runs that carry the token already are given back again: an earlier claim's answer was lost.
    """
    leased = {spec.name: sorted(spec.with_role(Role.LEASED)) for spec in specs}
    return compare_and_set(
        specs,
        event_edges(specs, start_events(specs)),
        parameters=_GIVEN,
        source={"a": _jobs(_ALONE)},
        match=["r.job = a.job", "r.id IN (SELECT value FROM json_each(?1, '$.ids'))"],
        done=Branch("", leased, Call("Eq", (Name("r.claim"), Name("a.token"))), {}),
        returning=_RETURNING,
    )


def claim_by_scan(specs: Sequence[MachineSpec], hints: Sequence[str]) -> str:
    """Return the SQL that starts the oldest due runs; what has expired is fired, so as not to stand first.

    A suspect run takes no other's place: it starts only where nothing else is under way, and alone.
    """
    edges = deadline_edges(specs, skip=hints, then=start_events(specs))
    known = "d.job IN (SELECT key FROM json_each(?1, '$.jobs'))"
    fit = [known, f"(NOT ({STARTS_ALONE}) OR {_ALONE})"]
    head = "(SELECT max(suspect) FROM w)"
    return compare_and_set(
        specs,
        edges,
        parameters=_GIVEN,
        source={
            "w": oldest_sql(specs, {edge.source for each in edges.values() for edge in each}, fit),
            "a": _jobs(f"{_ALONE} AND (?1 ->> '$.limit' = 1 OR {head})"),
        },
        match=[
            "r.job = a.job",
            "r.id IN (SELECT id FROM w)",
            f"(a.alone = 0 OR r.id = (SELECT id FROM w WHERE suspect = {head} LIMIT 1))",
        ],
        returning=_RETURNING,
    )


def _jobs(alone: str) -> str:
    """Return a SELECT of a row for each job known here, with its times."""
    shared = [f"?1 ->> '$.{name}' AS {name}" for name in ("now", "token", "facts")]
    times = ["value ->> 0 AS timeout_ms", "value ->> 1 AS lease_ms"]
    return select(["key AS job", *times, *shared, f"{alone} AS alone"], "FROM json_each(?1, '$.jobs')")
