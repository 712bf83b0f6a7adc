"""The digest of a lifecycle: the same in every process, another when anything changes."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from kumofire_fsm.machines import Actor, Deadline, Event, JobMachine, Outcome, Role, RunMachine, State

SCRIPT = """
from kumofire_fsm.machines import JobMachine, RunMachine
from kumofire_fsm.store._selection import edge_rows
from kumofire_fsm.store.runs import RunStatements
import hashlib
class Sub(RunMachine): pass
statements = RunStatements([RunMachine.spec, Sub.spec])
events = [e.id for e in RunMachine.spec.events if e.id not in ("start", "hold_back", "admit")]
texts = [statements.fire(events, [], fenced=True).sql, str(edge_rows(Sub.spec))]
for hints in ("all", "moves", "none"):
    texts.append(statements.sweep(timing={}, now=0, limit=1, hints=hints, jobs=[]).sql)
texts += [statements.claim(None, now=0, token="", alone=True, jobs={}).sql, statements.next_wake(jobs=[]).sql]
texts += [each.sql for each in statements.prune(below="", also="", rules={}, limit=1)]
print(RunMachine.spec.digest, JobMachine.spec.digest, Sub.spec.digest)
print(*[hashlib.sha256(text.encode()).hexdigest()[:8] for text in texts])
"""


def in_another_process(seed: str) -> list[str]:
    environment = os.environ | {"PYTHONHASHSEED": seed}
    answer = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
    )
    return answer.stdout.splitlines()


def test_digests_and_sql_do_not_depend_on_the_hash_seed():
    first, second, third = (in_another_process(seed) for seed in ("0", "1", "4711"))
    assert first[0].split()[:2] == [RunMachine.spec.digest, JobMachine.spec.digest]
    assert first[0] == second[0] == third[0]
    assert first[1] == second[1] == third[1]


def test_a_digest_is_twelve_hexadecimal_digits():
    assert re.fullmatch("[0-9a-f]{12}", RunMachine.spec.digest)


def lifecycle(declare, **changed):
    """Declare a small lifecycle with one thing changed."""
    say = {
        "named": "small", "in_table": "rows", "first": "a", "role": Role.WAITING,
        "at": "now + 1", "fires": ("go",), "cond": None, "edge_sets": {}, "event_sets": {},
        "state_sets": {}, "by": Actor.PERSON, "hints": False, "event": "extra", "loop": "b",
        "waits": False, "order": 1, "default": 0, "given": 0, "begins": "first", "words": "", "outcome": None,
    } | changed  # fmt: skip
    a = State(
        role=say["role"],
        initial=say["begins"] == "first",
        deadline=Deadline(say["at"], *say["fires"], doc=say["words"]),
    )
    w = {"waits": True} if say["waits"] else {"deadline": Deadline("now", "go")}
    b = State(say["words"], role=Role.WAITING, initial=say["begins"] != "first", sets=say["state_sets"], **w)
    c, d = State(role=Role.SETTLED, outcome=say["outcome"]), State(role=Role.SETTLED)
    ends = [a.to(c), a.to(d, cond="attempt > 5")][:: say["order"]]
    body = {
        say["first"]: a, "b": b, "c": c, "d": d,
        "go": Event(a.to(b, cond=say["cond"], sets=say["edge_sets"]) | a.to(b, cond="attempt > 7") | a.to(c)
                    | b.to(c), sets=say["event_sets"], by=say["by"], hints=say["hints"], doc=say["words"]),
        "back": Event(b.to(a)), "end": Event(ends[0] | ends[1]),
        say["event"]: Event({"a": a, "b": b}[say["loop"]].to.itself()),
        "fields": RunMachine.fields | {"attempt": say["default"]},
        "parameters": RunMachine.parameters | {"now": say["given"]},
    }  # fmt: skip
    return declare(named=say["named"], in_table=say["in_table"], **body)


CHANGES = [
    {"named": "other"},
    {"in_table": "kumofire_others"},
    {"first": "z"},
    {"role": Role.LEASED},
    {"at": "now + 2"},
    {"fires": ("end", "go")},
    {"cond": "attempt > 2"},
    {"edge_sets": {"attempt": "1"}},
    {"event_sets": {"attempt": "1"}},
    {"event_sets": {"attempt": "2"}},
    {"state_sets": {"shared": "1"}},
    {"by": Actor.CONSUMER},
    {"hints": True},
    {"event": "surplus"},
    {"loop": "a"},
    {"waits": True},
    {"order": -1},
    {"begins": "second"},
    {"default": 1},
    {"given": 1},
]


def test_the_same_declaration_has_the_same_digest(declare):
    assert lifecycle(declare).spec.digest == lifecycle(declare).spec.digest


@pytest.mark.parametrize("change", CHANGES, ids=[f"{k}={v}" for c in CHANGES for k, v in c.items()])
def test_a_change_of_anything_changes_the_digest(declare, change):
    assert lifecycle(declare, **change).spec.digest != lifecycle(declare).spec.digest


@pytest.mark.parametrize("said", [{"words": "Some words."}, {"outcome": Outcome.SUCCESS}], ids=str)
def test_what_is_only_shown_changes_no_digest(declare, said):
    assert lifecycle(declare, **said).spec.digest == lifecycle(declare).spec.digest


def test_no_two_changes_share_a_digest(declare):
    digests = [lifecycle(declare, **change).spec.digest for change in CHANGES[:-2]]
    assert len(set(digests)) == len(digests)
