"""Identifiers: UUIDv7 for rows, so that key order is time order, and short claim tokens."""

from __future__ import annotations

import re
from typing import Final

from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.ports import Entropy
from kumofire_fsm.values.jsontext import storable
from kumofire_fsm.values.printable import shown

__all__ = ["check_id", "first_id_at", "is_id", "new_id", "new_token"]

_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def new_id(now: int, entropy: Entropy) -> str:
    """Return a UUIDv7 (RFC 9562) for a time in milliseconds since 1970.

    Made here and not by a library, because libraries read the clock and the entropy themselves, and
    a simulated history could not repeat.
    """
    return _text(now, entropy.token(10).hex())


def first_id_at(at: int) -> str:
    """Return the smallest id that a row created at ``at`` (milliseconds) can have."""
    return _text(at, "0" * 20)


def new_token(entropy: Entropy) -> str:
    """Return a claim token: 16 hexadecimal digits."""
    return entropy.token(8).hex()


def is_id(text: str) -> bool:
    """Return whether a text is written as our ids are; a UUID of any version is."""
    return _ID.fullmatch(text) is not None


def check_id(run_id: object) -> str:
    """Return ``run_id`` if it has the form of an id.

    Raises:
        InvalidArgument: it has not; so a mixed-up argument is told from an unknown run.
    """
    if not isinstance(run_id, str) or not run_id:
        raise InvalidArgument(f"an id is a text such as 0198c0de-...; found {shown(run_id)}")
    return storable(run_id, "an id")


def _text(at: int, noise: str) -> str:
    """Return 48 bits of time, the version 7, 12 bits of noise, the variant, and 62 bits of noise."""
    time = f"{at:012x}"
    variant = "89ab"[int(noise[4], 16) & 3]
    return f"{time[:8]}-{time[8:]}-7{noise[1:4]}-{variant}{noise[5:8]}-{noise[8:]}"
