"""Which parameters come with an event: an edge that reads another would find nothing in the database.

What is given where is in `kumofire_fsm.store`; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from kumofire_fsm.machines.finding import Broken
from kumofire_fsm.machines.spec import ADMIT, HOLD, EdgeSpec, MachineSpec, Role

__all__ = ["CLAIMED", "FIRED", "SWEPT", "parameters_given"]

_ALWAYS: Final = frozenset({"now", "facts", "hint_ms", "ends_at", "turn_at"})
"""The time; and what is empty where it is not given."""
CLAIMED: Final = _ALWAYS | {"token", "alone", "timeout_ms", "lease_ms", "horizon_ms", "full"}
"""What a claim gives: to what starts or holds a run, and to what a deadline tries before its hint."""
_TIMES: Final = _ALWAYS | {"horizon_ms", "redeliver_ms", "lost_ms", "grace_ms"}
SWEPT: Final = _TIMES | {"full"}
"""What a deadline gives."""
FIRED: Final = _TIMES | {"lease_ms", "next_at", "value"} | {
    "step_ms", "to_step", "data", "to_undo", "tries", "seen", "taken", "told", "signal_key", "rests",
    "was_visit",
}  # fmt: skip
"""What whoever else fires an event gives."""
_TABLE: Final = "kumofire_runs"


def parameters_given(spec: MachineSpec) -> Iterator[Broken]:
    """Yield each edge that reads a parameter which does not come with its event."""
    starts = {edge.event for edge in spec.edges if _is_start(spec, edge)}
    for edge in spec.edges if spec.table == _TABLE else ():
        for way, given in _ways(spec, edge, starts):
            if missing := sorted(edge.names() & spec.parameters.keys() - given):
                ends = f"{edge.event!r} from {edge.source!r} to {edge.target!r}"
                what = f"{ends} reads {', '.join(missing)}, which {way} does not give"
                mend = f"it gives {', '.join(sorted(given & spec.parameters.keys()))}"
                yield "parameter", what, mend, {"state": edge.source, "event": edge.event}


def _ways(spec: MachineSpec, edge: EdgeSpec, starts: Collection[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield how an edge may be taken, and what is given then; a person gives all that a deadline does."""
    state = spec.state(edge.source)
    fires = state.deadline.fires if state is not None and state.deadline is not None else ()
    if edge.event in starts or edge.event == HOLD:
        yield "a claim", CLAIMED
    elif edge.event == ADMIT:
        yield "whatever makes room", SWEPT
    elif edge.event not in fires:
        yield "whoever fires it", FIRED
    if edge.event in fires:
        yield "a deadline", SWEPT
        last = spec.event(fires[-1])
        waits_for_hint = last is not None and last.hints and edge.event != last.id
        if waits_for_hint and any(spec.edges_from(edge.source, start) for start in starts):
            yield "a claim, which tries it first,", CLAIMED


def _is_start(spec: MachineSpec, edge: EdgeSpec) -> bool:
    return spec.has_role(edge.source, Role.CLAIMABLE) and spec.has_role(edge.target, Role.LEASED)
