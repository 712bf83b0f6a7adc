"""Every error the package raises, under one root.

An error says what was attempted, what was found and what to do. What a handler raises to steer its
own run (`Retry`, `Snooze`, `Fail`, `Cancel`) is not an error: see `kumofire_fsm.signals`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = [
    "BindingError",
    "CommitRefused",
    "Conflict",
    "DailyLimitReached",
    "DatabaseFull",
    "DatabaseReadOnly",
    "DedupeConflict",
    "DefinitionError",
    "DrawingError",
    "FileDamaged",
    "FileReplaced",
    "GuardFailed",
    "InvalidArgument",
    "InvalidMessage",
    "InvalidPayload",
    "InvalidResult",
    "InvalidSchedule",
    "InvocationLimitReached",
    "KumofireError",
    "LeaseLost",
    "MailFull",
    "MigrationConflict",
    "MissingPackage",
    "NoResult",
    "NotFound",
    "OpenedElsewhere",
    "QueueError",
    "RowRefused",
    "RowUnreadable",
    "SchemaMismatch",
    "StatementRefused",
    "StoreError",
    "StoreOverloaded",
    "TooLarge",
    "TransientStoreError",
    "TransitionError",
    "TransitionNotAllowed",
    "UnknownJob",
    "UnknownRun",
    "UnknownSchedule",
    "UnknownSignal",
    "UnknownStoreError",
    "UnsupportedMessageVersion",
    "WaitTimeout",
    "WranglerError",
]


_NAMES = 20
"""Jobs that an error lists."""
_MOST = 2000
"""Characters of an error's text: what it quotes may be of any length."""


class KumofireError(Exception):
    """The root of every error of this package. A text over 2,000 characters is cut in its middle."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(_cut(each, _MOST) for each in args))


def _cut(given: object, most: int) -> object:
    """Return what is given; a text that is too long keeps its beginning and its end."""
    if not isinstance(given, str) or len(given) <= most:
        return given
    half = most // 2 - 20
    return f"{given[:half]} ... [{len(given) - 2 * half:,} characters] ... {given[-half:]}"


class DefinitionError(KumofireError):
    """A machine or a job is declared in a way that could lose or hold a run.

    Attributes:
        findings: every rule that the machine breaks, as `kumofire_fsm.machines.finding.Finding`, where
            rules were checked; the error's text is the first.
    """

    def __init__(self, message: str, findings: Sequence[Any] = ()) -> None:
        self.findings = tuple(findings)
        super().__init__(message)


class DrawingError(KumofireError):
    """Graphviz could not draw a diagram."""


class InvalidArgument(KumofireError, ValueError):
    """A call was given something it cannot take; nothing was stored."""


class InvalidPayload(InvalidArgument):
    """The payload does not validate against the handler, or is not JSON."""


class InvalidResult(KumofireError, ValueError):
    """The handler returned something that cannot be stored."""


class TooLarge(InvalidArgument):
    """A value is over its limit (see `kumofire_fsm.values.limits`)."""


class MailFull(TooLarge):
    """An instance keeps as many signals as it may, and no wait has taken them."""

    def __init__(self, run_id: str, most: int) -> None:
        super().__init__(
            f"run {run_id} keeps {most} signals that no wait has taken; nothing was stored: look which step "
            "it is in, and who sends so many"
        )


class InvalidSchedule(InvalidArgument):
    """A cron expression, zone or interval that can never fire as written."""


class NotFound(KumofireError, LookupError):
    """What was named does not exist."""


class UnknownJob(NotFound):
    """No job of that name, handler or flow is registered in this application."""

    def __init__(self, name: str, known: Sequence[str], why: str | None = None) -> None:
        self.name = name
        more = f" and {len(known) - _NAMES} more" if len(known) > _NAMES else ""
        listed = ", ".join(known[:_NAMES]) or "none"
        said = why or f"no job {_cut(name, 300)!r} is registered"
        super().__init__(f"{said}; registered are: {listed}{more}")


class UnknownRun(NotFound):
    """No run has this id; it may have been pruned."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(f"no run has the id {run_id!r}: it was never created here, or was pruned")


class UnknownSignal(NotFound):
    """The run is of no flow that is known here, or its flow has no such signal."""


class UnknownSchedule(NotFound):
    """No schedule has this id or key."""

    def __init__(self, what: str) -> None:
        super().__init__(f"no schedule with {what} exists")


class TransitionError(KumofireError):
    """An event did not move a row; the row is as it was.

    Attributes:
        row_id: the row's id.
        event: the event that was fired.
        state: the state it was found in.
        legal: the events that people may fire from there.
    """

    def __init__(
        self, message: str, *, row_id: str, event: str, state: str, legal: Sequence[str] = ()
    ) -> None:
        self.row_id, self.event, self.state, self.legal = row_id, event, state, tuple(legal)
        super().__init__(message)


class TransitionNotAllowed(TransitionError):
    """The machine has no such edge from the row's state, or the event is not the caller's."""


class GuardFailed(TransitionError):
    """The edge exists, but its guard does not hold."""


class Conflict(TransitionError):
    """Another writer moved the row meanwhile."""


class LeaseLost(Conflict):
    """The attempt no longer owns its run: the lease ran out, or another attempt began."""


class DedupeConflict(TransitionError):
    """Another run holds the dedupe key: one that a redrive would take back, or with another payload."""


class InvalidMessage(KumofireError):
    """A queue message is not one of ours."""


class UnsupportedMessageVersion(InvalidMessage):
    """A queue message was written by another version of the package."""


class NoResult(KumofireError):
    """The run has failed or was canceled, so that no result comes.

    Attributes:
        status: the run, as a `RunStatus`.
    """

    def __init__(self, message: str, status: Any) -> None:
        self.status = status
        super().__init__(message)


class WaitTimeout(KumofireError, TimeoutError):
    """The run was not settled within the time given; it goes on."""


class StoreError(KumofireError):
    """The database refused or failed a statement."""


class TransientStoreError(StoreError):
    """The database was not reachable or too busy; the same call may succeed later."""


class StoreOverloaded(TransientStoreError):
    """The database has more to do than it can; back off before trying again."""


class DailyLimitReached(StoreError):
    """The account's daily quota of rows is spent."""


class InvocationLimitReached(StoreError):
    """This invocation has sent as many statements as its plan allows; see `max_statements`."""


class RowRefused(StoreError):
    """A constraint or guard trigger refused a row; nothing of the statement was kept."""


class RowUnreadable(StoreError):
    """A row holds what none of ours can, such as an instant beyond the calendar; another writer left it."""


class StatementRefused(StoreError):
    """The database cannot execute a statement as it is written or bound; nothing of it was kept."""


class UnknownStoreError(StoreError):
    """The database failed in a way that is not known here; nobody is blamed for it."""


class CommitRefused(StoreError):
    """The database refused what a handler handed to `RunContext.commit`; nothing of it was kept."""


class SchemaMismatch(StoreError):
    """The database's schema does not fit this code; the message names the command that mends it."""


class MigrationConflict(KumofireError):
    """Migration files, or two ways of applying them, contradict each other; nothing was changed."""


class WranglerError(KumofireError):
    """Wrangler, Cloudflare's command line, is missing or failed; the message has its last lines."""


class DatabaseReadOnly(StoreError):
    """The database cannot be written."""


class DatabaseFull(StoreError):
    """The disk, or the database's quota, is full."""


class FileDamaged(StoreError):
    """The database file or its write-ahead log is damaged: it was cut, or written over, or its disk fails.

    Attributes:
        what: what was found.
    """

    def __init__(self, what: str, path: str = "") -> None:
        self.what = what
        named = f" {path!r}" if path else ""
        super().__init__(
            f"the database{named} is damaged: {what}; stop every process that has it open, check it with "
            "SQLite's PRAGMA integrity_check, and restore the backup (docs/files.md)"
        )


class FileReplaced(StoreError):
    """The database file is not the one that was opened: it was moved, removed or replaced meanwhile."""


class OpenedElsewhere(StoreError, RuntimeError):
    """A database is used from another process, event loop or thread than can serve it; nothing was done."""


class MissingPackage(KumofireError, ImportError):
    """A call needs an optional package that is not installed; the message names it."""


class BindingError(KumofireError, TypeError):
    """A database or queue binding is missing, or is something else."""


class QueueError(KumofireError):
    """The queue refused a message; the run is stored, and its deadline will send it again."""
