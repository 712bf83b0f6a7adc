"""Tests of applications: a lifecycle or a flow by itself, and jobs on doubles of database, queue and clock.

What asks a lifecycle what moves and what is refused asks the table that the compiled SQL is derived from.
The doubles are real: SQLite in memory, and a queue that delivers. No other room imports it. Begin with
`_asserts`, then `_queue`.
"""

from kumofire_fsm.flows.lint import lint
from kumofire_fsm.testing._asserts import Moved, Refused, assert_refused, assert_transition
from kumofire_fsm.testing._cases import TransitionCase, Way, transition_cases
from kumofire_fsm.testing._clock import VirtualClock
from kumofire_fsm.testing._paths import Path, paths_to
from kumofire_fsm.testing._play import Play
from kumofire_fsm.testing._queue import RecordedMessage, RecordingQueue
from kumofire_fsm.testing._rows import NOW
from kumofire_fsm.testing._sequences import event_sequences
from kumofire_fsm.testing._storage import MemoryStorage

__all__ = [
    "NOW",
    "MemoryStorage",
    "Moved",
    "Path",
    "Play",
    "RecordedMessage",
    "RecordingQueue",
    "Refused",
    "TransitionCase",
    "VirtualClock",
    "Way",
    "assert_refused",
    "assert_transition",
    "event_sequences",
    "lint",
    "paths_to",
    "transition_cases",
]
