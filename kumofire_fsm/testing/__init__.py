"""Tests of applications: a lifecycle or a flow by itself, one handler, and jobs in virtual time.

What asks a lifecycle what moves and what is refused asks the table that the compiled SQL is derived from.
Jobs are worked on SQLite by what the embedded worker is made of; the doubles for Workers are
real, too: SQLite in memory, and a queue that delivers. No other room but the pytest plugin imports it. Begin
with `_asserts`, then `_virtual`.
"""

from kumofire_fsm.flows.lint import lint
from kumofire_fsm.testing._asserts import Moved, Refused, assert_refused, assert_transition
from kumofire_fsm.testing._bindings import MemoryStorage, RecordedMessage, RecordingQueue
from kumofire_fsm.testing._cases import TransitionCase, Way, transition_cases
from kumofire_fsm.testing._opening import SyncVirtualJobs, virtual_jobs
from kumofire_fsm.testing._outcome import CallOutcome
from kumofire_fsm.testing._paths import Path, event_sequences, paths_to
from kumofire_fsm.testing._perform import perform
from kumofire_fsm.testing._play import Play
from kumofire_fsm.testing._rows import NOW
from kumofire_fsm.testing._system import VirtualClock
from kumofire_fsm.testing._virtual import VirtualJobs

__all__ = [
    "NOW",
    "CallOutcome",
    "MemoryStorage",
    "Moved",
    "Path",
    "Play",
    "RecordedMessage",
    "RecordingQueue",
    "Refused",
    "SyncVirtualJobs",
    "TransitionCase",
    "VirtualClock",
    "VirtualJobs",
    "Way",
    "assert_refused",
    "assert_transition",
    "event_sequences",
    "lint",
    "paths_to",
    "perform",
    "transition_cases",
    "virtual_jobs",
]
