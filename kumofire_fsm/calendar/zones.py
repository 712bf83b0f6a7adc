"""Time zones: finding one by its name, and where its clock skips or repeats wall times.

Instants are seconds since 1970 in UTC, wall times seconds since 1970-01-01 00:00 on the zone's wall.
"""

from __future__ import annotations

import difflib
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from kumofire_fsm.errors import InvalidSchedule

__all__ = ["Change", "find_zone", "offset_at", "offset_or_change"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)  # a wall time has no zone
_SECOND: Final = timedelta(seconds=1)
_MACHINES_OWN: Final = ("localtime", "posixrules", "posix/", "right/")
"""Files beside the zones that differ from machine to machine, or count leap seconds."""


class Change(NamedTuple):
    """A change of the clock, whatever its cause, and the wall times that it skips or repeats.

    Attributes:
        at: the instant of the change.
        before, after: the offsets from UTC on both sides, in seconds.
    """

    at: int
    before: int
    after: int

    @property
    def skips(self) -> bool:
        """The clock went forward; else it went back, and the wall times come twice."""
        return self.after > self.before

    @property
    def first(self) -> int:
        """The first wall time that is skipped or repeated."""
        return self.at + min(self.before, self.after)

    @property
    def end(self) -> int:
        """The wall time that follows the last one skipped or repeated."""
        return self.at + max(self.before, self.after)


@lru_cache(maxsize=256)
def find_zone(name: str) -> ZoneInfo:
    """Return the IANA time zone of this name.

    Raises:
        InvalidSchedule: no time zone has that name; the message proposes some that come near.
    """
    if not name.startswith(_MACHINES_OWN):
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass
    near = _near(name)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "use a name such as 'Europe/Berlin'"
    raise InvalidSchedule(f"there is no time zone {name[:100]!r}; {hint}")


def _near(name: str) -> list[str]:
    """Return up to three names of zones that resemble this one, and that are not refused as it is."""
    taken = (zone for zone in available_timezones() if zone != name and not zone.startswith(_MACHINES_OWN))
    known = {zone.lower(): zone for zone in sorted(taken)}
    wanted = name[:100].strip().lower().replace(" ", "_")
    cities = [zone for zone in known if zone.endswith(f"/{wanted}")]
    found = [wanted] if wanted in known else cities or difflib.get_close_matches(wanted, known, cutoff=0.7)
    return [known[zone] for zone in found[:3]]


def offset_at(zone: tzinfo, instant: int) -> int:
    """Return the zone's offset from UTC at an instant, in seconds."""
    return _seconds(datetime.fromtimestamp(instant, zone))


def offset_or_change(zone: tzinfo, wall: int) -> int | Change:
    """Return the offset of a wall time that comes once, or the change that skips or repeats it."""
    local = _EPOCH.replace(tzinfo=zone) + wall * _SECOND
    before, after = _seconds(local), _seconds(local.replace(fold=1))
    if before == after:
        return before
    # PEP 495: fold 0 has the offset before the change, fold 1 the one after it.
    low, high = wall - max(before, after), wall - min(before, after)
    while high - low > 1:
        middle = (low + high) // 2
        if offset_at(zone, middle) == before:
            low = middle
        else:
            high = middle
    return Change(high, before, after)


def _seconds(local: datetime) -> int:
    offset = local.utcoffset()
    return 0 if offset is None else offset // _SECOND
