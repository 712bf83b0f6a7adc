"""Long work on an event loop, a few milliseconds a turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

__all__ = ["in_turns"]

Given = TypeVar("Given")
Made = TypeVar("Made")

TURN_SECONDS: Final = 0.005


async def in_turns(items: Iterable[Given], make: Callable[[Given], Made]) -> list[Made]:
    """Make something of each item; between, let the event loop do what others wait for."""
    loop, made = asyncio.get_running_loop(), []
    ends = loop.time() + TURN_SECONDS
    for item in items:
        made.append(make(item))
        if loop.time() > ends:
            await asyncio.sleep(0)
            ends = loop.time() + TURN_SECONDS
    return made
