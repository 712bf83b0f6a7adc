"""The one line that says which storage the suites test."""

from kumofire_fsm.adapters.d1 import D1Storage

__all__ = ["D1Storage"]
