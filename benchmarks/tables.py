"""Which block of a page is drawn by which function, from the raw results."""

from __future__ import annotations

from collections.abc import Callable

import bench_tables
import capacity
import peer_tables
from markdown import Found

__all__ = ["BLOCKS", "OF"]

BLOCKS: dict[str, Callable[[Found], str]] = {
    "beside": bench_tables.beside,
    "counts": bench_tables.counts,
    "standing": bench_tables.standing,
    "aims": bench_tables.aims,
    "profile": bench_tables.profile,
    "peers": peer_tables.peers,
    "peers-how": peer_tables.peers_how,
    "peers-short": peer_tables.peers_short,
    "scale": peer_tables.scale,
    "flows": peer_tables.flows,
    "one-file": bench_tables.one_file,
    "cost": lambda found: capacity.cost(),
    "databases": lambda found: capacity.databases(bench_tables.sqlite_us(found)),
}
OF = {
    "bench": ("beside", "counts", "standing", "aims", "profile"),
    "peers": ("peers", "peers-how"),
    "scale": ("scale",),
    "flows": ("flows",),
}
"""Which blocks show a result."""
