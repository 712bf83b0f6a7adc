"""What a handler raises to say how its run goes on. None of these is an error."""

from __future__ import annotations

from datetime import datetime, timedelta

__all__ = ["Cancel", "Fail", "Retry", "Signal", "Snooze"]


class Signal(Exception):
    """The root of what a handler may raise to steer its own run."""


class Retry(Signal):
    """Try again, as if the attempt had failed.

    Args:
        reason: stored as the run's last error.
        after: how long to wait; None for the job's own backoff.
    """

    def __init__(
        self, reason: str = "the handler asked for a retry", *, after: timedelta | float | None = None
    ) -> None:
        self.after = after
        super().__init__(reason)


class Snooze(Signal):
    """Call the handler again later; this call does not count as an attempt.

    Args:
        until: an aware datetime, or how long from now (timedelta or seconds).
    """

    def __init__(self, until: datetime | timedelta | float) -> None:
        self.until = until
        super().__init__(f"snoozed until {until}")


class Fail(Signal):
    """Fail the run now, whatever attempts are left."""


class Cancel(Signal):
    """Stop: the run ends canceled. The answer to ``ctx.canceled``, or the handler's own wish."""
