"""The queue port over a Cloudflare Queues producer binding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from kumofire_fsm.errors import BindingError, QueueError
from kumofire_fsm.ports import Hint
from kumofire_fsm.values.limits import QUEUE_DELAY_S
from kumofire_fsm.values.message import message_body

__all__ = ["CloudflareQueue"]

BATCH_MESSAGES: Final = 100
"""Messages in one sendBatch (https://developers.cloudflare.com/queues/platform/limits/); at about 80 bytes
each they stay far below its 256 KB."""


class CloudflareQueue:
    """A queue.

    Args:
        binding: ``env.JOBS_QUEUE``, wrapped by the SDK or raw.
        name: what the binding is called, for errors.

    Raises:
        BindingError: it is not a queue binding.
    """

    def __init__(self, binding: Any, name: str = "") -> None:
        if binding is None or not hasattr(binding, "sendBatch"):
            raise BindingError(
                f"a Queue binding is needed, with sendBatch(); found {type(binding).__name__}; is the queue "
                f'a producer in "queues" of wrangler.jsonc with the binding {name or "used here"}?'
            )
        self._binding = binding

    async def send(self, hints: Sequence[Hint]) -> None:
        """Send hints, at most 100 a call.

        Raises:
            QueueError: a call failed; hints of earlier calls were taken.
        """
        for part in _parts(hints):
            messages = [
                {
                    "body": message_body(hint.run_id),
                    "contentType": "json",
                    "delaySeconds": min(hint.delay_s, QUEUE_DELAY_S),
                }
                for hint in part
            ]
            try:
                await self._binding.sendBatch(_objects(messages))
            except Exception as exc:
                raise QueueError(f"the queue refused {len(part)} messages: {exc}") from exc


def _parts(hints: Sequence[Hint]) -> Iterator[Sequence[Hint]]:
    for start in range(0, len(hints), BATCH_MESSAGES):
        yield hints[start : start + BATCH_MESSAGES]


def _objects(messages: list[dict[str, Any]]) -> Any:
    """Return JavaScript objects where there is JavaScript: a raw binding would get Maps."""
    try:
        from js import Object  # type: ignore[import-not-found]  # only inside Workers
        from pyodide.ffi import to_js  # type: ignore[import-not-found]
    except ImportError:
        return messages
    return to_js(messages, dict_converter=Object.fromEntries)
