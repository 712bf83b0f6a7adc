"""How statements are laid out: the text that the database executes is the text that people read."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Final

from kumofire_fsm.machines.expression import quoted

__all__ = [
    "WIDTH",
    "Texts",
    "common",
    "indented",
    "lines",
    "listed",
    "picked",
    "quoted_list",
    "select",
    "where",
]

WIDTH: Final = 91
"""How long a line may become before it is broken."""


def lines(*parts: str) -> str:
    """Return clauses one below the other, without the empty ones."""
    return "\n".join(part for part in parts if part)


def indented(text: str, by: int = 2) -> str:
    """Return a text with every line but its first moved to the right."""
    return text.replace("\n", "\n" + " " * by)


def quoted_list(texts: Iterable[str]) -> str:
    """Return texts as the inside of an SQL ``IN (...)``."""
    return ", ".join(quoted(text) for text in texts)


def listed(items: Iterable[str]) -> str:
    """Return items with commas between them, as many on a line as fit; a longer one stands alone."""
    rows: list[str] = []
    room = 0
    for item in items:
        if rows and "\n" not in item and len(item) + 2 <= room:
            rows[-1] += f", {item}"
            room -= len(item) + 2
        else:
            rows.append(item)
            room = 0 if "\n" in item else WIDTH - len(item)
    return ",\n".join(rows)


def picked(names: Iterable[str]) -> list[str]:
    """Return the elements of a JSON array as columns of these names."""
    return [f"value ->> {i} AS {name}" for i, name in enumerate(names)]


def select(columns: Iterable[str], *clauses: str) -> str:
    """Return a SELECT: the columns, then each clause on a line of its own."""
    found = listed(columns)
    head = f"SELECT\n  {indented(found)}" if "\n" in found or len(found) > WIDTH else f"SELECT {found}"
    return lines(head, *clauses)


def where(*conditions: str, begin: str = "WHERE") -> str:
    """Return conditions that must all hold, each on a line of its own, without the empty ones."""
    return f"{begin} " + "\n  AND ".join(indented(each) for each in conditions if each)


def common(tables: Mapping[str, str]) -> str:
    """Return the WITH clause of these tables, each worked out once; one that lists its columns may recur."""
    made = (f"{name} AS MATERIALIZED (\n  {indented(text)}\n)" for name, text in tables.items())
    return f"WITH {'RECURSIVE ' if any('(' in name for name in tables) else ''}" + ",\n".join(made)


class Texts:
    """Texts that are compiled once: the database keeps constant texts prepared."""

    def __init__(self) -> None:
        self._made: dict[Hashable, str] = {}

    def __call__(self, key: Hashable, make: Callable[[], str]) -> str:
        """Return the text for a key, which stands for all that ``make`` depends on."""
        return self._made.get(key) or self._made.setdefault(key, make())
