"""Compiles edges into one compare-and-set statement that moves a set of rows.

The statement reads its arguments from a table expression ``a`` and names the row ``r``:

    WITH a AS (...) UPDATE <table> AS r SET ... FROM a WHERE <match> AND <test> RETURNING ...

Where a row may take one of two ways, a column is a CASE of what tells them apart. Where there are more (a
batch of mixed outcomes; a sweep of all deadlines), a second table expression ``m`` first says which edge
each row takes, in the order in which the machine tries them, and a column is a CASE over that number:

    WITH a AS (...), m AS (SELECT r.id, ..., CASE WHEN <test> THEN 1 ... END AS edge FROM a JOIN <table> ...)
    UPDATE <table> AS r SET ... FROM m WHERE r.id = m.id AND m.edge IS NOT NULL RETURNING ...

For two that costs a look-up of each row too many: 5 % of a claim.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from kumofire_fsm.machines.expression import Call, Expression, Literal, Name
from kumofire_fsm.machines.operators import OPERATORS, joined
from kumofire_fsm.machines.spec import EdgeSpec, MachineSpec
from kumofire_fsm.store._branches import Branch, apart, branches_of
from kumofire_fsm.store._layout import WIDTH, common, indented, lines, listed, quoted_list, select, where

__all__ = ["compare_and_set"]


def compare_and_set(
    specs: Sequence[MachineSpec],
    edges: Mapping[str, Sequence[EdgeSpec]],
    *,
    parameters: Sequence[str],
    source: Mapping[str, str],
    match: Sequence[str],
    returning: Sequence[str],
    by_event: bool = False,
    done: Branch | None = None,
    known: Mapping[str, Expression] = MappingProxyType({}),
) -> str:
    """Return the statement that moves every matching row along the first open edge.

    Args:
        specs: the machines, all of one table.
        edges: for each machine's name the edges to try, in order.
        parameters: the columns of ``a``; every parameter that an edge names must be among them.
        source: table expressions by name, of which one is ``a``.
        match: which rows of ``r`` belong to which row of ``a``.
        returning: the columns to give back.
        by_event: whether ``a.event`` chooses among the events.
        known: what stands in SQL for parameters that are no column of ``a``.
        done: tells rows that an earlier, unanswered call has moved; they are given back as they are.
    """
    branches = [*([done] if done else []), *branches_of(specs, edges, parameters, known, by_event=by_event)]
    table = specs[0].table
    ours = f"r.machine IN ({quoted_list(spec.name for spec in specs)})"
    number = len(specs)
    if len(branches) > 2:
        source = {**source, "m": _taken(branches, table, match, ours, number, by_event=by_event)}
        fork = _Fork(branches, "m", by_event)
        tested = where("r.id = m.id", "m.edge IS NOT NULL")
    else:
        first = apart(branches[0], branches[1], number) if len(branches) > 1 else ""
        fork = _Fork(branches, "a", by_event, first)
        # "+": rows are looked up by id, not by the index.
        tests = [branch.test(number, "+") for branch in branches]
        either = "(\n  " + "\n  OR ".join(indented(test) for test in tests) + "\n)"
        tested = where(*match, ours, either if len(tests) > 1 else tests[0])
    columns = dict.fromkeys(column for spec in specs for column in spec.fields)
    sets = {column: fork.value(column) for column in columns if fork.assigns(column)}
    return _update(table, source, sets, fork.origin, tested, returning)


def _taken(
    branches: Sequence[Branch],
    table: str,
    match: Sequence[str],
    ours: str,
    machines: int,
    *,
    by_event: bool,
) -> str:
    """Return the SELECT of which edge each row takes, and of what the assignments read of ``a``."""
    tests = [f"WHEN {indented(each.test(machines))} THEN {i}" for i, each in enumerate(branches, 1)]
    read = {name for branch in branches for value in branch.sets.values() for name in value.names()}
    carried = sorted(name.removeprefix("a.") for name in read if name.startswith("a."))
    carried = [*(["event"] if by_event else []), *carried]
    return select(
        [
            "r.id AS id",
            *(f"a.{name} AS {name}" for name in carried),
            f"CASE\n  {indented(lines(*tests))}\nEND AS edge",
        ],
        f"FROM a JOIN {table} AS r",
        "  " + indented(where(*match, begin="ON")),
        where(ours),
    )


def _update(
    table: str,
    source: Mapping[str, str],
    sets: Mapping[str, str],
    origin: str,
    tested: str,
    returning: Sequence[str],
) -> str:
    assigned = ",\n  ".join(f"{column} = {indented(value)}" for column, value in sets.items())
    return lines(
        common(source),
        f"UPDATE {table} AS r",
        f"SET\n  {assigned}",
        f"FROM {origin}",
        tested,
        f"RETURNING {indented(listed(returning))}",
    )


class _Fork(NamedTuple):
    """The branches of a statement, numbered from 1, and how a column says which one a row takes.

    Attributes:
        branches: in the order in which they are tried.
        origin: the table expression that the assignments read: ``m`` knows the number, ``a`` does not.
        by_event: whether the origin has the event of each row.
        first: without a number, the test of the first of two branches.
    """

    branches: Sequence[Branch]
    origin: str
    by_event: bool
    first: str = ""

    def assigns(self, column: str) -> bool:
        """Return whether any branch assigns the column."""
        return any(column in branch.sets for branch in self.branches)

    def value(self, column: str) -> str:
        """Return what a column becomes, by the branch that a row takes."""
        stays = Name(f"r.{column}")
        values = {i: branch.sets.get(column, stays) for i, branch in enumerate(self.branches, 1)}
        calls = {i: v for i, v in values.items() if isinstance(v, Call) and v.operator == "record"}
        if len(set(calls.values())) < 2:
            return self._chosen(values)
        # How a history is cut stands once in a statement.
        places = range(len(next(iter(calls.values())).arguments))
        once = [self._chosen({i: each.arguments[at] for i, each in calls.items()}) for at in places]
        texts = {i: self._sql(i, each) for i, each in values.items() if i not in calls}
        return self._case(texts, OPERATORS["record"].sql(*once))

    def _chosen(self, values: Mapping[int, Expression]) -> str:
        """Return the value of the branch that a row takes; what most branches agree on stands last."""
        texts = {i: self._sql(i, each) for i, each in values.items()}
        ((usual, times),) = Counter(texts.values()).most_common(1)
        if self.first and times == 1:
            usual = texts[2]
        return self._case({i: text for i, text in texts.items() if text != usual}, usual)

    def _sql(self, branch: int, value: Expression) -> str:
        if self.by_event and value == Literal(self.branches[branch - 1].event):
            return f"{self.origin}.event"
        return value.sql(lambda name: f"{self.origin}.{name[2:]}" if name.startswith("a.") else name)

    def _case(self, whens: Mapping[int, str], usual: str) -> str:
        if not whens:
            return usual
        edge = f"{self.origin}.edge"
        head = "CASE" if self.first else f"CASE {edge}"
        cases = [_when(self.first or str(branch), text) for branch, text in whens.items()]
        alike: dict[str, list[int]] = {}
        for branch, text in whens.items():
            alike.setdefault(text, []).append(branch)
        short = f"{head} {' '.join(cases)} ELSE {usual} END"
        if len(alike) < len(cases) and not _fits(short):  # each text stands once
            tests = (joined("{} OR {}".format, [f"{edge} = {at}" for at in each]) for each in alike.values())
            head, cases = "CASE", [_when(test, text) for test, text in zip(tests, alike, strict=True)]
            short = f"{head} {' '.join(cases)} ELSE {usual} END"
        if _fits(short):
            return short
        return f"{head}\n  {indented(lines(*cases, f'ELSE {usual}'))}\nEND"


def _fits(text: str) -> bool:
    return len(text) <= WIDTH and "\n" not in text


def _when(test: str, value: str) -> str:
    line = f"WHEN {test} THEN {value}"
    return line if len(line.splitlines()[0]) <= WIDTH else f"WHEN {test}\n  THEN {indented(value)}"
