"""What becomes of a dedupe key whose run was created with another payload."""

from __future__ import annotations

import json
from typing import Any, Final

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.reading import is_settled, read_runs
from kumofire_fsm.errors import DedupeConflict, InvalidArgument, UnknownRun
from kumofire_fsm.models import Created
from kumofire_fsm.runs.creation import NewRow
from kumofire_fsm.runs.storing import RunStore
from kumofire_fsm.store.rows import RunRow
from kumofire_fsm.values.hidden import HIDDEN, without_hidden
from kumofire_fsm.values.jsontext import json_facts
from kumofire_fsm.values.limits import FACTS_BYTES
from kumofire_fsm.values.printable import shown

__all__ = ["check_on_conflict", "settle_conflict"]

_WAYS: Final = ("return", "raise", "replace")
_TIMES: Final = 10
"""How often a run is stored anew, as who held its key has given it up, and another has taken it by then."""


def check_on_conflict(given: object, row: NewRow) -> None:
    """Refuse what a create cannot do about a conflict; "return" needs no look.

    Raises:
        InvalidArgument: it is unknown, or there is no key, or a flow's data, which changes as it goes.
    """
    if given not in _WAYS:
        raise InvalidArgument(f"on_conflict must be 'return', 'raise' or 'replace'; found {shown(given)}")
    if row.dedupe is None:
        raise InvalidArgument(f"on_conflict={given!r} needs a dedupe_key")
    if row.columns.get("step") is not None:
        raise InvalidArgument(f"on_conflict={given!r} is not for flows, whose data changes as they go")


async def settle_conflict(
    binding: Binding, store: RunStore, row: NewRow, created: Created[Any], on_conflict: str
) -> Created[Any]:
    """Raise, or give the run that holds the key the new payload, as long as it has not started.

    Where that run has given the key up meanwhile, as it settled or was pruned, the new run is stored.

    Raises:
        DedupeConflict: the payloads differ, and it has started or is not to be replaced.
        UnknownRun: it was pruned meanwhile, as others before it: create it again.
    """
    run_id, stored = created.kumofire_job_run_id, 0
    while True:
        held = (await read_runs(binding, [run_id], results=True)).get(run_id)
        if held is not None and held.payload is not None and json.loads(held.payload) == json.loads(row.text):
            return Created(run_id, is_new=False)
        settled = held is None or is_settled(binding, held.machine, held.state, held.wake_at)
        if settled and stored < _TIMES:
            stored += 1
            again = await store.store_soon(row)
            if not again.payload_differs:
                return again
            if again.kumofire_job_run_id != run_id:
                run_id = again.kumofire_job_run_id
                continue
        if held is None:
            raise UnknownRun(run_id)
        begun = held.starts > 0 or settled
        if on_conflict == "raise" or begun:
            raise _conflict(binding, held, begun=on_conflict == "replace")
        binding.wake()
        facts = _facts(binding, held)
        statements = binding.runs.replace(run_id, held.history, row.text, facts, binding.now())
        if (await binding.storage.batch(statements))[-1]:
            return Created(run_id, is_new=False, replaced=True)


def _conflict(binding: Binding, held: RunRow, *, begun: bool) -> DedupeConflict:
    name = binding.registry.name_of(held.job)
    why = "it is not replaced, because it has started or is settled" if begun else "nothing was stored"
    return DedupeConflict(
        f"run {held.id} of job {name!r} holds the dedupe key {shown(held.dedupe_key)} with another payload, "
        f"and is {held.state}: {why}",
        row_id=held.id,
        event="create",
        state=held.state,
    )


def _facts(binding: Binding, held: RunRow) -> str:
    """Return what the history says of the payload that goes: the payload without what its types hide."""
    job = binding.registry.names.get(held.job)
    try:
        text = json.loads(held.payload or "")
        if job is None:
            gone: Any = HIDDEN
        else:
            gone = text if job.payload is None else without_hidden(job.decode_payload(held.payload), text)
    except Exception:  # an application's own types may raise anything
        gone = HIDDEN
    facts = json_facts(replaced=gone)
    return facts if len(facts) <= FACTS_BYTES else json_facts(replaced_bytes=len(held.payload or ""))
