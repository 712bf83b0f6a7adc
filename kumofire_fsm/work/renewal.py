"""Keeps a run at one message: copies are taken off the queue, and a worn message is replaced by a fresh one.

A message that stays the hint of its run is retried, which is cheaper than to send another. But the queue
counts its deliveries, and gives it up in the end, as if it were broken.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.ports import Hint
from kumofire_fsm.values.error_text import error_line
from kumofire_fsm.work.disposition import Disposition

__all__ = ["one_hint_each", "renewed"]

log = logging.getLogger(__package__)

RENEW_AT: Final = 3
"""The delivery after which a message is replaced: with two retries or more, which is the platform's least
sensible setting, none is given up that its run still needs."""


def one_hint_each(dispositions: Sequence[Disposition]) -> list[Disposition]:
    """Acknowledge all but the first of the messages that would stay hints of one run."""
    seen: set[str] = set()
    found = []
    for each in dispositions:
        if each.goes_on and each.run_id in seen:
            found.append(Disposition(each.run_id, ack=True, reason="another message is its hint"))
        else:
            found.append(each)
        if each.goes_on and each.run_id is not None:
            seen.add(each.run_id)
    return found


async def renewed(
    binding: Binding, messages: Sequence[Any], dispositions: Sequence[Disposition]
) -> list[Disposition]:
    """Send a fresh hint for each worn message that goes on, by one call, and acknowledge what it replaces.

    When the queue refuses, the old ones stay.
    """
    worn = [
        place
        for place, each in enumerate(dispositions)
        if each.goes_on and _deliveries(messages[place]) >= RENEW_AT
    ]
    found = list(dispositions)
    if not worn or binding.queue is None:
        return found
    hints = [Hint(run_id, found[place].delay_s) for place in worn if (run_id := found[place].run_id)]
    try:
        await binding.queue.send(hints)
    except Exception as exc:  # of a queue of the application's own
        said = "%d worn messages could not be replaced (%s); they are retried"
        log.warning(said, len(worn), error_line(exc))
        return found
    for place in worn:
        reason = f"{found[place].reason}; a fresh message follows"
        found[place] = replace(found[place], ack=True, reason=reason, goes_on=False)
    return found


def _deliveries(message: Any) -> int:
    """Return how often a message has been delivered, this time included; 0 where it does not say."""
    try:
        said = getattr(message, "attempts", 0)
    except Exception:
        return 0
    return said if isinstance(said, int) else 0
