"""The queue message: a wake-up hint that carries only a run's id."""

from __future__ import annotations

import json
from typing import Any, Final

from kumofire_fsm.errors import InvalidMessage, UnsupportedMessageVersion
from kumofire_fsm.values.ids import is_id
from kumofire_fsm.values.printable import shown

__all__ = ["VERSION", "message_body", "read_message"]

VERSION: Final = 1


def message_body(run_id: str) -> dict[str, Any]:
    """Return the body of the hint for a run."""
    return {"version": VERSION, "kumofireJobRunId": run_id}


def read_message(body: object) -> str:
    """Return the run id that a body carries; JSON text is read too.

    Raises:
        UnsupportedMessageVersion: another version of the package wrote it.
        InvalidMessage: it is not one of ours.
    """
    if isinstance(body, (str, bytes)):
        try:
            body = json.loads(body)
        except (ValueError, RecursionError) as exc:
            raise InvalidMessage(f"a message must be JSON; found {shown(body)}") from exc
    if not isinstance(body, dict) or "version" not in body:
        raise InvalidMessage(
            'a message must be {"version": 1, "kumofireJobRunId": "..."}; found ' + f"{shown(body)}"
        )
    version, run_id = body["version"], body.get("kumofireJobRunId")
    if isinstance(version, bool) or not isinstance(version, (int, float)) or version != VERSION:
        raise UnsupportedMessageVersion(
            f"this code reads messages of version {VERSION}; found {shown(version)}; deploy code that "
            "knows it"
        )
    if not isinstance(run_id, str) or not run_id:
        raise InvalidMessage(f"a message needs a kumofireJobRunId; found {shown(body)}")
    if not is_id(run_id):
        raise InvalidMessage(
            f"a message's kumofireJobRunId must be an id of ours, a UUID; found {shown(run_id)}"
        )
    return run_id
