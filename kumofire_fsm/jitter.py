"""A delay for each occurrence of a recurring job, so that jobs of the same time do not start together."""

from __future__ import annotations

import hashlib

__all__ = ["jitter_delay_ms"]


def jitter_delay_ms(schedule_id: str, occurrence: int, jitter_ms: int) -> int:
    """Return a delay from 0 to ``jitter_ms``, both included, in milliseconds.

    It depends on nothing but the arguments, so that every process that computes it, now or after a crash,
    gets the same; over occurrences and over schedules it is spread evenly.

    Args:
        schedule_id: the recurring job's id.
        occurrence: its instant, in milliseconds since 1970.
        jitter_ms: the longest delay; 0 means none.
    """
    digest = hashlib.sha256(f"{schedule_id}:{occurrence}".encode()).digest()
    return int.from_bytes(digest[:8], "big") * (jitter_ms + 1) >> 64
