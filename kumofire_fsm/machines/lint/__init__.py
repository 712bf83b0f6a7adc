"""Looks over a lifecycle for what it hardly means; the command is ``kumofire machine lint``.

It imports `kumofire_fsm.machines` alone. Begin with `_warnings`.
"""

from kumofire_fsm.machines.lint._overlaps import edge_warnings
from kumofire_fsm.machines.lint._warnings import lint

__all__ = ["edge_warnings", "lint"]
