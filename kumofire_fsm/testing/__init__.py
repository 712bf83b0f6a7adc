"""Test a lifecycle by itself, without a database: what moves, what is refused, and how to get there.

Everything asks the table that the compiled SQL is derived from. Tests of applications import it, and no
other room does. Begin with `_asserts`.
"""

from kumofire_fsm.machines.lint import lint
from kumofire_fsm.testing._asserts import Moved, Refused, assert_refused, assert_transition
from kumofire_fsm.testing._cases import TransitionCase, Way, transition_cases
from kumofire_fsm.testing._paths import Path, paths_to
from kumofire_fsm.testing._rows import NOW
from kumofire_fsm.testing._sequences import event_sequences

__all__ = [
    "NOW",
    "Moved",
    "Path",
    "Refused",
    "TransitionCase",
    "Way",
    "assert_refused",
    "assert_transition",
    "event_sequences",
    "lint",
    "paths_to",
    "transition_cases",
]
