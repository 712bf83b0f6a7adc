"""Pictures of lifecycles."""

from kumofire_fsm.drawing.draw import diagram

__all__ = ["diagram"]
