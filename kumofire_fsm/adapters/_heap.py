"""Keeps the C library from giving its heap back to the kernel at each statement."""

from __future__ import annotations

import functools
from typing import Final

__all__ = ["keep_heap"]

BYTES: Final = 2 * 1024**2
"""Twice as much may be free at the heap's end from then on: some forty temporary tables."""


@functools.cache
def keep_heap() -> None:
    """Let the C library keep what it frees, up to some megabytes; once a process.

    For each temporary table of a statement SQLite allocates 20 pages, together 88 KB
    (SQLITE_DEFAULT_PCACHE_INITSZ). glibc gives the heap's end back to the kernel where more than 128 KB of it
    are free: after each statement with a few such tables, and the next one faults every page in again. That
    bound is dynamic (mallopt(3), M_MMAP_THRESHOLD): once a block was freed that had a mapping of its own, it
    is twice the block's size. So one large block, which nobody writes into, is made and dropped.

    Other C libraries do not notice. Whoever sets M_TRIM_THRESHOLD has switched the dynamic bound off, and
    keeps his own.
    """
    bytes(BYTES)
