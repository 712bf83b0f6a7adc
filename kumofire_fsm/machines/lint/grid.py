"""A small grid of values that opens and closes guards.

A guard that compares columns with each other and with constants asks only for their order. So for
``n`` columns that are compared with each other, directly or through others, the integers up to ``n``
away from each constant show every order there is. Such guards are decided exactly while the grid has
no more than `LIMIT` rows; guards with arithmetic are only searched.

Columns are taken to be independent. One whose default is None may hold None; others never do.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kumofire_fsm.machines.expression import Call, Expression, Literal, Scalar
from kumofire_fsm.machines.spec import EdgeSpec

__all__ = ["LIMIT", "Grid", "first_open"]

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

    def values(
        self, default: Scalar, defaults: Mapping[str, Scalar], reach: int, *, text: bool
    ) -> list[Scalar]:
        """Return what a column of the group may hold beside its default, the nearest to it first."""
        others = {defaults[name] for name in self.names} | self.constants
        fitting: set[Scalar] = set()
        if text:
            fitting |= {value for value in others if isinstance(value, str)}
            fitting |= {f"other {number}" for number, _ in enumerate(self.names)}
            return sorted(fitting - {default}, key=str)
        numbers = {value for value in others if isinstance(value, int)} | ({0} if default is None else set())
        fixed = {value for value in self.constants if isinstance(value, int)}
        width = len(self.names) + reach - (not fixed)
        middle = default if isinstance(default, int) else max(numbers, default=0)
        near = {number + step for number in numbers for step in range(-width, width + 1)} - {default}
        return [*sorted(near, key=lambda value: (abs(value - middle), value < middle))]


class Grid:
    """Rows on which guards are evaluated, given as what they change in a row of defaults.

    Args:
        guards: the guards to decide together; None stands for an edge without one.
        defaults: what the columns and parameters hold where nothing is changed.
        texts: the columns that hold texts; the others hold numbers.
        fixed: columns that keep their default.
        reach: how much farther from a constant to go, where assignments add and subtract.
        natural: whether to leave out negative numbers.
    """

    def __init__(
        self,
        guards: Iterable[Expression | None],
        defaults: Mapping[str, Scalar],
        *,
        texts: Collection[str] = (),
        fixed: Sequence[str] = (),
        reach: int = 0,
        natural: bool = False,
    ) -> None:
        present = [guard for guard in guards if guard is not None]
        self._axes: dict[str, list[Scalar]] = {}
        groups = _groups(present)
        for group in groups:
            for name in group.names:
                values = group.values(defaults[name], defaults, reach, text=name in texts)
                kept = [v for v in values if not (natural and isinstance(v, int) and v < 0)]
                self._axes[name] = [] if name in fixed else kept
        size = math.prod(len(values) + 1 for values in self._axes.values())
        self.exact = size <= LIMIT and not any(_calculates(guard) for guard in present)

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
    return next((edge for edge in edges if edge.holds(row)), None)


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
