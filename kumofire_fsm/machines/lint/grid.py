"""A small grid of values that opens and closes guards.

A guard that compares columns with each other and with constants asks only for their order. So for
``n`` columns that are compared with each other, directly or through others, the integers up to ``n``
away from each constant show every order there is. Such guards are decided exactly while the grid has
no more than `LIMIT` rows; guards with arithmetic, or of texts and numbers, are only searched.

Columns are taken to be independent. One whose default is None may hold None; others never do.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kumofire_fsm.machines.expression import Call, Expression, Literal, Scalar
from kumofire_fsm.machines.spec import EdgeSpec

__all__ = ["LIMIT", "Grid", "first_open", "holds"]

LIMIT = 20_000
"""Rows that a grid yields at most: about a third of a second for a guard of usual length."""

_LOGIC = frozenset({"And", "Or", "Not"})
_COMPARISONS = frozenset({"Lt", "LtE", "Gt", "GtE", "Eq", "NotEq", "is_none"})
_ARITHMETIC = frozenset({"Add", "Sub", "Mult", "LShift"})


@dataclass(slots=True)
class _Group:
    """Columns that are compared with each other, and the constants they are compared with."""

    names: list[str]
    constants: set[Scalar]

    def mixed(self, defaults: Mapping[str, Scalar]) -> bool:
        """Return whether texts are compared with numbers, which Python and SQLite order differently."""
        others = {defaults[name] for name in self.names} | self.constants
        return len({type(value) for value in others if value is not None}) > 1

    def values(self, default: Scalar, defaults: Mapping[str, Scalar], reach: int) -> list[Scalar]:
        """Return what a column of the group may hold beside its default, the nearest to it first."""
        others = {defaults[name] for name in self.names} | self.constants
        numbers = {value for value in others if isinstance(value, int)}
        texts = {value for value in others if isinstance(value, str)}
        if default is None and not texts:
            numbers |= {0}
        fitting: set[Scalar] = set()
        if not isinstance(default, str):
            fixed = {value for value in self.constants if isinstance(value, int)}
            width = len(self.names) + reach - (not fixed)
            fitting |= {near + step for near in numbers for step in range(-width, width + 1)}
        if texts and not isinstance(default, int):
            fitting |= texts | {f"other {number}" for number, _ in enumerate(self.names)}
        middle = default if isinstance(default, int) else max(numbers, default=0)
        return sorted(fitting - {default}, key=lambda value: _nearness(value, middle))


class Grid:
    """Rows on which guards are evaluated, given as what they change in a row of defaults.

    Args:
        guards: the guards to decide together; None stands for an edge without one.
        defaults: what the columns and parameters hold where nothing is changed.
        fixed: columns that keep their default.
        reach: how much farther from a constant to go, where assignments add and subtract.
        natural: whether to leave out negative numbers.
    """

    def __init__(
        self,
        guards: Iterable[Expression | None],
        defaults: Mapping[str, Scalar],
        *,
        fixed: Sequence[str] = (),
        reach: int = 0,
        natural: bool = False,
    ) -> None:
        present = [guard for guard in guards if guard is not None]
        self._axes: dict[str, list[Scalar]] = {}
        groups = _groups(present)
        for group in groups:
            for name in group.names:
                values = group.values(defaults[name], defaults, reach)
                kept = [v for v in values if not (natural and isinstance(v, int) and v < 0)]
                self._axes[name] = [] if name in fixed else kept
        size = math.prod(len(values) + 1 for values in self._axes.values())
        plain = not any(group.mixed(defaults) for group in groups)
        self.exact = size <= LIMIT and plain and not any(_calculates(guard) for guard in present)

    def rows(self) -> Iterator[dict[str, Scalar]]:
        """Yield up to `LIMIT` changes to the defaults, those of the fewest columns first."""
        return itertools.islice(self._all(), LIMIT)

    def _all(self) -> Iterator[dict[str, Scalar]]:
        for count in range(len(self._axes) + 1):
            for names in itertools.combinations(self._axes, count):
                for values in itertools.product(*(self._axes[name] for name in names)):
                    yield dict(zip(names, values, strict=True))


def first_open(edges: Sequence[EdgeSpec], row: Mapping[str, Scalar]) -> EdgeSpec | None:
    """Return the edge that a row takes: the first whose guard holds; None when none does."""
    return next((edge for edge in edges if holds(edge, row)), None)


def holds(edge: EdgeSpec, row: Mapping[str, Scalar]) -> bool:
    """Return whether an edge's guard holds; it does not where it compares a text with a number."""
    try:
        return edge.holds(row)
    except TypeError:
        return False


def _nearness(value: Scalar, middle: int) -> tuple[bool, int, bool, str]:
    """Order numbers by their distance, larger ones first, before texts."""
    if isinstance(value, int):
        return False, abs(value - middle), value < middle, ""
    return True, 0, False, str(value)


def _groups(guards: Iterable[Expression]) -> list[_Group]:
    """Return the columns of all guards, grouped with those that they are compared with."""
    groups: list[_Group] = []
    for condition in itertools.chain.from_iterable(_conditions(guard) for guard in guards):
        names = list(dict.fromkeys(condition.names()))
        compared = isinstance(condition, Call) and condition.operator in _COMPARISONS
        # A value in the place of a condition is compared with 0.
        merged = _Group([], set(_constants(condition)) | (set() if compared else {0}))
        for group in [group for group in groups if not set(names).isdisjoint(group.names)]:
            groups.remove(group)
            merged.names += group.names
            merged.constants |= group.constants
        merged.names += [name for name in names if name not in merged.names]
        groups.append(merged)
    return groups


def _conditions(guard: Expression) -> Iterator[Expression]:
    """Yield the comparisons, and the columns taken for a condition, that a guard joins by logic."""
    if isinstance(guard, Call) and guard.operator in _LOGIC:
        for argument in guard.arguments:
            yield from _conditions(argument)
    elif not isinstance(guard, Literal):
        yield guard


def _constants(condition: Expression) -> Iterator[Scalar]:
    """Yield the constants that a condition names."""
    if isinstance(condition, Literal):
        yield condition.value
    elif isinstance(condition, Call):
        for argument in condition.arguments:
            yield from _constants(argument)


def _calculates(expression: Expression) -> bool:
    """Return whether an expression adds, subtracts, multiplies or shifts."""
    if not isinstance(expression, Call):
        return False
    return expression.operator in _ARITHMETIC or any(map(_calculates, expression.arguments))
