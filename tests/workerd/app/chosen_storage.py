"""The one line that says which storage the suites test."""

from standin_d1 import StandInD1 as D1Storage

__all__ = ["D1Storage"]
