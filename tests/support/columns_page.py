"""Writes the tables of docs/lifecycles.md on what expressions may read, from the code: ``make columns``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from kumofire_fsm.machines.columns import COLUMNS, PARAMETERS

PAGE = Path(__file__).parents[2] / "docs" / "lifecycles.md"


def columns() -> str:
    """Return the table of columns."""
    rows = (
        (f"`{name}`", f"`{each.default!r}`", held(text=each.text), each.doc + ("; ours" if each.ours else ""))
        for name, each in COLUMNS.items()
    )
    return table(("column", "default", "holds", "meaning"), rows)


def parameters() -> str:
    """Return the table of parameters."""
    rows = (
        (f"`{name}`", f"`{each.default!r}`", held(text=each.text), each.doc, each.given)
        for name, each in PARAMETERS.items()
    )
    return table(("parameter", "default", "holds", "meaning", "given with"), rows)


def held(*, text: bool) -> str:
    """Return what a column or parameter holds."""
    return "text" if text else "integer"


def table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table of Markdown."""
    return "".join(
        f"| {' | '.join(row)} |\n" if row else f"|{'---|' * len(heads)}\n" for row in (heads, (), *rows)
    )


def renewed(page: str) -> str:
    """Return the page with its tables as the code has them."""
    for name, made in (("columns", columns()), ("parameters", parameters())):
        between = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end -->)", re.DOTALL)
        page, found = between.subn(lambda _, made=made: made, page)  # type: ignore[misc]
        assert found == 1, name
    return page


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text("utf-8")), "utf-8", newline="\n")
