"""Pictures of lifecycles: SVG, PNG, DOT, Mermaid and a page of tables.

The root and the command line import it; it knows only machines, models and errors. Begin with `_draw`.
"""

from kumofire_fsm.drawing._draw import diagram

__all__ = ["diagram"]
