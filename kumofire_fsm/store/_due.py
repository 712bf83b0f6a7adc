"""Windows of due rows: which runs a claim or a sweep looks at, by their deadlines, oldest first.

Each returns the text of a SELECT whose parameter ``?1`` carries ``now``, ``limit`` and ``jobs``. Rows of
machines that are not known here are left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from kumofire_fsm.machines.expression import quoted
from kumofire_fsm.machines.spec import MachineSpec, Role
from kumofire_fsm.store._layout import indented, lines, quoted_list, select, where
from kumofire_fsm.store._selection import states_by_urgency
from kumofire_fsm.store.rows import RUNS, STARTS_ALONE, dump

__all__ = ["LIMIT", "due_sql", "known_sql", "oldest_sql", "states_with"]

_TERMS: Final = 5
LIMIT: Final = "LIMIT ?1 ->> '$.limit'"


def states_with(specs: Iterable[MachineSpec], *roles: Role) -> list[str]:
    """Return the states of these machines that have one of these roles, in the order of their names."""
    return sorted({state for spec in specs for state in spec.with_role(*roles)})


def known_sql(specs: Sequence[MachineSpec]) -> str:
    """Return the condition that leaves out what waits for a job that is not known here."""
    claimable = quoted_list(states_with(specs, Role.CLAIMABLE))
    return f"(\n  d.state NOT IN ({claimable})\n  OR d.job IN (SELECT value FROM json_each(?1, '$.jobs'))\n)"


def due_sql(specs: Sequence[MachineSpec], states: Iterable[str], extra: Sequence[str], *columns: str) -> str:
    """Return a SELECT of due rows: states by urgency, the oldest first within each."""
    order: dict[str, None] = {}
    for spec in specs:
        order |= dict.fromkeys(states_by_urgency(spec, set(states) & set(spec.with_role(*Role))))
    return select(
        ["d.id", *columns],
        f"FROM json_each({quoted(dump(list(order)))}) AS s",
        f"CROSS JOIN {RUNS} AS d ON d.state = s.value AND d.wake_at <= ?1 ->> '$.now'",
        where(f"d.machine IN ({quoted_list(spec.name for spec in specs)})", *extra),
        LIMIT,
    )


def oldest_sql(specs: Sequence[MachineSpec], states: Iterable[str], extra: Sequence[str]) -> str:
    """Return a SELECT of due rows: suspects, then the oldest, whatever their state.

    Were states tried in turn, runs that snooze or retry without end would starve all others.
    """
    suspect = f"{STARTS_ALONE} AS suspect"
    each = [due_sql(specs, [state], extra, suspect, "d.wake_at") for state in sorted(states)]
    oldest = "ORDER BY suspect DESC, wake_at"
    return lines(f"SELECT id, suspect FROM (\n  {indented(_merged(each))}\n)", oldest, LIMIT)


def _merged(selects: Sequence[str]) -> str:
    """Return the rows of all SELECTs; D1 takes five in a UNION, and so more are merged in several steps."""
    apart = [f"SELECT * FROM (\n  {indented(text)}\n)" for text in selects]
    if len(apart) <= _TERMS:
        return "\nUNION ALL\n".join(apart)
    return _merged([_merged(selects[i : i + _TERMS]) for i in range(0, len(selects), _TERMS)])
