"""Tells when a lease that has run out is lost: not before its holder could have renewed it."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["LeaseTrust"]


class LeaseTrust:
    """What a worker's sweeps have seen of the database: whether it took writes lately.

    While another connection holds the write lock, a disk hangs or this process stands still, no lease is
    renewed, and all run out together; where the clock was set forward, too. So a lease counts as lost only
    when sweeps, a quarter of a lease apart, have been written for half a lease without a gap and by a steady
    clock. Whoever lives has renewed it by then: at the end of a lock the renewals are waiting already.

    The clock is looked at between two sweeps, too. It may be set wrong and right again, and a renewal lie
    between: that lease is worth nothing, and its holder renews it as soon as he sees that.

    Args:
        lease_ms: how long a lease holds; holders renew it four times in that.
        wall: the clock by which leases are stored, in milliseconds.
        monotonic: a clock that nobody sets, in seconds.
    """

    def __init__(self, lease_ms: int, wall: Callable[[], int], monotonic: Callable[[], float]) -> None:
        self._lease_ms, self._wall, self._monotonic = lease_ms, wall, monotonic
        self._steady_since: float | None = None
        self._swept_at = self._ahead_ms = self._jump_ms = 0.0

    def sweep_seconds(self) -> float:
        """Return how often a sweep is to be written at least."""
        return self._lease_ms / 4000

    def trusted_since(self) -> float | None:
        """Return since when all has been steady, in milliseconds of that clock; None if not long enough."""
        since = self._steady_since
        steady = since is not None and self._monotonic() * 1000 - since >= self._lease_ms / 2
        return since if steady else None

    def take_jump(self) -> float:
        """Return by how many milliseconds the clock has been set since this was asked last."""
        jump_ms, self._jump_ms = self._jump_ms, 0.0
        return jump_ms

    def look(self) -> float | None:
        """Look at the clock; return since when all has been steady, by the one that nobody sets."""
        self._note(*self._clocks())
        return self._steady_since

    def __call__(self) -> bool:
        """Note that a sweep is being written now; return whether leases that have run out are lost."""
        now, ahead_ms = self._clocks()
        self._note(now, ahead_ms)
        passed, self._swept_at, self._ahead_ms = now - self._swept_at, now, ahead_ms
        if self._steady_since is None or passed > self._lease_ms / 2:
            self._steady_since = now
        return now - self._steady_since >= self._lease_ms / 2

    def _clocks(self) -> tuple[float, float]:
        """Return the time by the clock that nobody sets, and how far the other is ahead of it."""
        now = self._monotonic() * 1000
        return now, self._wall() - now

    def _note(self, now: float, ahead_ms: float) -> None:
        """Begin the watch anew if the clock was set since the last sweep."""
        jump_ms = ahead_ms - self._ahead_ms
        if self._steady_since is not None and abs(jump_ms) > self._lease_ms / 10:
            self._steady_since, self._ahead_ms = now, ahead_ms
            self._jump_ms += jump_ms
