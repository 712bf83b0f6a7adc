"""What the guard triggers say when the database lacks an edge of a machine, and what mends it."""

from __future__ import annotations

from typing import Final

__all__ = ["REGISTER", "explained", "lacks_edge"]

REGISTER: Final = (
    "register the application's machines: kumofire machine migrate MODULE:APP --sqlite FILE "
    "(D1: --remote --database NAME, or --dir for wrangler's migrations)"
)
_SAYS: Final = ("kumofire: the machine has no such edge", "kumofire: a row may not be created in this state")


def lacks_edge(error: Exception) -> bool:
    """Return whether a guard trigger refused a move or an insert that its edge table does not have."""
    return any(text in str(error) for text in _SAYS)


def explained(error: Exception) -> str:
    """Return what the database said, with the command that mends it where an edge is lacking."""
    return f"{error}; {REGISTER}" if lacks_edge(error) else str(error)
