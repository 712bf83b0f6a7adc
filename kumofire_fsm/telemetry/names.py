"""Every name that telemetry uses: of spans, attributes and metrics.

Those that begin with ``messaging`` and ``error`` are OpenTelemetry's semantic conventions: a job is a
destination, and a run is a message.
"""

from __future__ import annotations

from typing import Final

SCOPE: Final = "kumofire_fsm"
"""The instrumentation scope of all that follows."""

# What a span is called begins with one of these, and goes on with the job.
CREATE: Final = "create"
PROCESS: Final = "process"
EXCEPTION: Final = "exception"
"""The event of a span that tells of an error."""

SYSTEM: Final = "messaging.system"
OPERATION: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
JOB: Final = "messaging.destination.name"
RUN_ID: Final = "messaging.message.id"
BATCH_COUNT: Final = "messaging.batch.message_count"
ERROR_TYPE: Final = "error.type"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"

SYSTEM_NAME: Final = "kumofire"
"""The value of `SYSTEM`."""
LOST: Final = "LeaseLost"
"""The value of `ERROR_TYPE` for an attempt whose lease is gone, or will run out as it broke."""

ATTEMPT: Final = "kumofire.run.attempt"
MAX_ATTEMPTS: Final = "kumofire.run.max_attempts"
IS_NEW: Final = "kumofire.run.is_new"
"""Whether a creation made the run, or found one that holds its dedupe key."""
STATE: Final = "kumofire.run.state"
OUTCOME: Final = "kumofire.run.outcome"
EVENT: Final = "kumofire.event"
"""Of a span: by which event the attempt ended. Of a deadline: which one it fired."""
STEP: Final = "kumofire.flow.step"
SLOT_STATE: Final = "kumofire.slot.state"
BUSY, IDLE = "busy", "idle"
"""The values of `SLOT_STATE`."""
ACCESS: Final = "kumofire.rows.access"
READ, WRITTEN = "read", "written"
"""The values of `ACCESS`."""

PROCESS_DURATION: Final = "messaging.process.duration"
WAIT_DURATION: Final = "kumofire.run.wait.duration"
OLDEST_AGE: Final = "kumofire.run.oldest_age"
COUNT: Final = "kumofire.run.count"
SETTLED: Final = "kumofire.run.settled"
FIRED: Final = "kumofire.deadline.fired"
SLOTS: Final = "kumofire.worker.slots"
ROWS: Final = "kumofire.rows"

DURATION_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Seconds of handlers, as the conventions say."""
WAIT_BOUNDS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
"""Seconds until a start: a tick of a dispatcher is a minute, and a backlog may last hours."""
