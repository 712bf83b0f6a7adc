"""What a handler raises to say how its run goes on. None of these is an error."""

from __future__ import annotations

from datetime import datetime, timedelta

__all__ = ["Cancel", "Fail", "Fire", "Go", "Retry", "Signal", "Snooze"]


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


class Fire(Signal):
    """End the attempt by firing an event that the run's machine declares for its handlers.

    The event is one ``by=Actor.CONSUMER`` that leads out of every leased state, whatever the row holds
    (`MachineSpec.endings`); another one is the handler's failure, and follows its retry policy.

    Args:
        event: the event to fire; fenced by the attempt, like every outcome.
        until: what the event's edges read as ``next_at``: an aware datetime, or how long from now.
        note: why, kept in the history, cut at 160 bytes.
    """

    def __init__(
        self, event: str, *, until: datetime | timedelta | float = 0.0, note: str | None = None
    ) -> None:
        self.event, self.until, self.note = event, until, note
        super().__init__(f"{event!r} was fired" if note is None else note)


class Go(Fire):
    """Leave a step of a flow by another event than that of returning.

    Args:
        event: the event, such as ``Order.by_hand``, or its name.
        data: the flow's data from then on; None leaves it as it is.
    """

    def __init__(self, event: object, data: object = None) -> None:
        name = getattr(event, "id", event)
        self.data = data
        super().__init__(str(name))


class Fail(Signal):
    """Fail the run now, whatever attempts are left."""


class Cancel(Signal):
    """Stop: the run ends canceled. The answer to ``ctx.canceled``, or the handler's own wish."""
