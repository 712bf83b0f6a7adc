"""Markdown of results: tables, numbers for a reader, and what machine they are from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["NEVER", "SETTINGS", "WORKS", "Found", "machine", "name_of", "table", "whole"]

Found = dict[str, Any]
NEVER = "This was not measured yet."
WORKS = {"one_by_one": "one by one", "creators": "100 creators", "bulk": "bulk, 500 a call"}
PEER_NAMES = {
    "kumofire": "kumofire_fsm", "dbos": "DBOS", "persist_queue": "persist-queue",
    "apscheduler": "APScheduler", "rq": "RQ", "celery": "Celery",
}  # fmt: skip
SETTINGS = {"two": "two cores", "one": "pinned to one core"}


def name_of(peer: str) -> str:
    """Return how a peer writes its name."""
    return PEER_NAMES.get(peer, peer)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns, but for the first, are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def whole(number: float | None) -> str:
    """Return a rate for a reader: three digits."""
    if number is None:
        return "-"
    return f"{float(f'{number:.3g}'):,.0f}" if number >= 10 else f"{number:.2g}"


def machine(found: Found, name: str) -> str:
    if found[name] is None:
        return NEVER
    at, took = found[name]["machine"], found[name]["took"]
    return (
        f"{took['date']}, {took['seconds']} s, {found[name]['rounds']} rounds: {at['cpu']}, {at['cores']} "
        f"cores, {at['memory_gb']} GB, {at['system']}, Python {at['python']}, SQLite {at['sqlite']}. A write "
        f"that the disk confirms took {at['fsync_ms']:.2g} ms, a hand-over between threads "
        f"{at['hand_over_us']:.2g} µs. "
        f"**The machine was {took['machine_was']}**: others took {took['others_percent']:.0f} % of it."
    )
