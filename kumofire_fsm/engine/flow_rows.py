"""What an instance of a version before becomes in the version that this code declares. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from kumofire_fsm.engine.flow_jobs import FlowJob
from kumofire_fsm.errors import KumofireError
from kumofire_fsm.flows.moves import letter_for
from kumofire_fsm.flows.spec import Kind, StepSpec, undo_step
from kumofire_fsm.store.rows import ClaimedRun
from kumofire_fsm.store.versions import LOOK_AGAIN, OldInstance
from kumofire_fsm.values.error_text import error_line, first_refusal, text_of
from kumofire_fsm.values.jsontext import argument_bytes
from kumofire_fsm.values.limits import INLINE_BYTES, PAYLOAD_BYTES
from kumofire_fsm.values.typed import encode_typed

__all__ = ["OldRow", "made_of", "read_by_waits", "renamed", "undone", "why_not"]

_OVERHEAD: Final = 1_000
"""About how many bytes an instance adds to the statements of its move beside its data."""


@dataclass(slots=True)
class OldRow:
    """An instance as it was read, and as it is to become."""

    read: OldInstance
    step: str | None
    undo: str
    data: str = ""
    error: str = field(default="")
    lost: str = field(default="")
    """A step that it has done, and that nobody would undo."""
    anew: bool = field(default=False)
    """Whether it rests, and its step is to begin anew."""

    @property
    def size(self) -> int:
        """About how many bytes it adds to the statements of its move."""
        return _OVERHEAD + argument_bytes(self.data) + argument_bytes(self.read.letter or "")

    def values(self, facts: str, now: int) -> tuple[Any, ...]:
        """Return what `move_versions` takes of it."""
        compared = self.read[: OldInstance._fields.index("undo")]
        return (*compared, self.step, self.undo, self.inline(), facts, now)

    def inline(self) -> str:
        """Return the data as it stands in the row; empty where it is too large for that."""
        return "" if len(self.data) > INLINE_BYTES else self.data

    def body(self, entered: int) -> tuple[str, str, int, int]:
        """Return what `store_payloads` takes of it, once so many steps are entered."""
        return self.read.id, self.data, self.read.starts, self.read.visit + entered


def why_not(job: FlowJob, row: OldRow) -> str:
    """Return why an instance cannot follow this version; empty if it can."""
    was, version = row.read.step, job.flow.version
    if not row.error and not row.lost and row.step is not None:
        return ""
    if row.error:
        why = row.error
    elif row.lost:
        why = f"it has done {row.lost!r}, which is no step any more; say was={{{row.lost!r}: ...}}"
    elif job.flow.step(job.flow.was.get(was, was) or ""):
        why = f"{was!r} is an end in version {version}; say at which step it goes on"
    else:
        why = f"there is no step {was!r} in version {version}; say was={{{was!r}: ...}}"
    return f"instance {row.read.id} of {job.name!r} cannot be moved to version {version}: {why}"


def renamed(job: FlowJob, step: str) -> str | None:
    """Return the step of this version in which an instance goes on that is at this one; None for nowhere."""
    found = job.flow.step(job.flow.was.get(step, step) or "")
    return None if found is None or found.kind is Kind.END else found.id


def undone(job: FlowJob, step: str) -> str | None:
    """Return the step whose undo is that of a step that was done; empty for none, None where it is gone."""
    to = job.flow.was.get(step, step)
    if to is None:
        return ""
    found = job.flow.step(to)
    return None if found is None else found.id if found.undo else ""


def read_by_waits(job: FlowJob) -> list[str]:
    """Return the columns that guards out of waits read, of those that a consumer knows when it looks."""
    guards = [edge.guard for step in job.flow.of_kind(Kind.WAIT) for edge in job.flow.edges_from(step.id)]
    return sorted({name for each in guards if each is not None for name in each.names()} & _KNOWN)


_KNOWN: Final = frozenset(ClaimedRun._fields) - {"body", "traceparent"}


def _begins_anew(job: FlowJob, read: OldInstance, step: StepSpec, now: int) -> bool:
    """Return whether an instance that rests is to begin its step anew, in this version.

    What rests waits, or could not be undone. So its step is another kind of step now, or a wait that accepts
    a signal which is kept.
    """
    if read.state not in {edge.source for edge in job.machine.edges_of(LOOK_AGAIN)}:
        return False
    if step.kind is not (Kind.UNDO if read.step.startswith(undo_step("")) else Kind.WAIT):
        return True
    known = {**read._asdict(), **json.loads(read.row), "now": now, "machine": job.machine.name}
    row = {**job.machine.fields, **known}
    return step.kind is Kind.WAIT and letter_for(job.flow, step, row) is not None


def made_of(job: FlowJob, read: OldInstance, now: int) -> OldRow:
    """Return what an instance becomes."""
    upgrades = job.upgrades
    done = json.loads(read.undo or "[]")
    undo = [undone(job, step) for step in done]
    made = OldRow(read, renamed(job, read.step), json.dumps([to for to in undo if to]))
    made.lost = next((step for step, to in zip(done, undo, strict=True) if to is None), "")
    if made.step is not None and (step := job.flow.step(made.step)):
        made.anew = _begins_anew(job, read, step, now)
    version = int(read.machine.rpartition("@")[2])
    try:
        data: Any = json.loads(read.body or "null")
        for number in range(version, job.flow.version):
            if number in upgrades:
                data = upgrades[number](data)
        assert job.payload is not None
        value = job.payload.validate_python(data)
        made.data = encode_typed(value, job.payload, "the data", PAYLOAD_BYTES)
    except (KumofireError, ValueError) as exc:
        made.error = _first_line(exc)
    except Exception as exc:
        made.error = f"its upgrade raised {error_line(exc)}"
    return made


def _first_line(exc: Exception) -> str:
    return first_refusal(exc) or text_of(exc).split("\n", 1)[0]
