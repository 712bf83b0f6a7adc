"""Diagrams as Mermaid, and the page of tables."""

from __future__ import annotations

import re

import pytest
from markdown_it import MarkdownIt

from kumofire_fsm import JobMachine, RunMachine, diagram
from kumofire_fsm.machines import Role

BOTH = pytest.mark.parametrize("machine", [RunMachine, JobMachine])


def tables(page: str) -> list[list[list[str]]]:
    """Return the rows of every table of a page, as a Markdown parser finds them."""
    found: list[list[list[str]]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(page):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and found and token.level > 2:
            found[-1][-1].append(
                "".join(t.content for t in token.children if t.type in ("text", "code_inline"))
            )
    return found


@BOTH
def test_the_page_has_a_row_for_every_state_event_and_edge(machine):
    states, events, edges = tables(diagram(machine, format="md"))
    spec = machine.spec
    assert [row[0].split(" ")[0] for row in states[1:]] == [s.id for s in spec.states]
    assert [row[0] for row in events[1:]] == [e.id for e in spec.events]
    assert [(row[0], row[1]) for row in edges[1:]] == [(e.event, e.source) for e in spec.edges]
    assert [row[3] for row in edges[1:]] == [e.guard_text for e in spec.edges]


def test_a_state_says_how_it_is_entered_and_left_and_what_its_deadline_does():
    states, _, _ = tables(diagram(RunMachine, format="md"))
    assert dict(zip(*states[:2], strict=True)) == {
        "state": "ready (initial)",
        "role": "claimable",
        "meaning": "Stored, waiting for its time; a dispatcher moves it into the queue when that is near.",
        "entered by": "snooze, reschedule, redrive",
        "left by": "enqueue, start, hold_back, expire, cancel",
        "deadline": "shortly before its time, or once the hint that went along seems lost: at "
        "least(greatest(now, run_at) + when(hint_ms is None or now + horizon_ms < run_at, 0 - horizon_ms, "
        "hint_ms), expires_at) fires expire, enqueue",
    }
    assert [row[1] for row in states[-3:]] == [
        "settled, success",
        "settled, failure",
        "settled, cancellation",
    ]


def test_a_state_that_waits_for_a_person_says_so(approved_run):
    states, _, _ = tables(diagram(approved_run, format="md"))
    (row,) = [row for row in states if row[0].startswith("approval")]
    assert (row[0], row[1], row[4], row[5]) == ("approval (initial)", "waiting", "approve", "none: it waits")


def test_an_edge_says_what_it_assigns_but_not_what_all_assign():
    _, _, edges = tables(diagram(RunMachine, format="md"))
    (row,) = [row for row in edges if row[:3] == ["release", "running", "queued"]]
    assert row[4] == "timeout_at, run_at, attempt, deliveries"


@pytest.mark.parametrize("name", ["a|b", "`tick`", "<script>", "two\nlines", "*star*_", "back\\slash"])
def test_no_text_breaks_the_tables(name, spec_of):
    states, events, edges = tables(diagram(spec_of(name, f"{name}2", f"{name}3"), format="md"))
    shown = name.replace("\n", " ")
    assert [row[0] for row in states[1:]] == [f"{shown} (initial)", f"{shown}2"]
    assert [len(row) for row in (*states, *events, *edges)] == [6] * 3 + [3] * 2 + [5] * 2


@BOTH
def test_mermaid_has_a_line_for_every_pair_of_states_with_its_events(machine):
    made = diagram(machine, format="mermaid", detail=True)
    lines = dict(re.findall(r"^    (\w+ --> \w+): (.*)$", made, re.MULTILINE))
    spec = machine.spec
    assert set(lines) == {f"s_{e.source} --> s_{e.target}" for e in spec.edges}
    for edge in spec.edges:
        label = re.split(", ", lines[f"s_{edge.source} --> s_{edge.target}"].replace(" ⏰", ""))
        assert edge.event in label


def test_mermaid_marks_roles_and_outcomes():
    made = diagram(RunMachine, format="mermaid")
    for role in (Role.CLAIMABLE, Role.LEASED):
        members = ",".join(f"s_{state}" for state in RunMachine.spec.with_role(role))
        assert f"    class {members} {role}\n" in made
    assert "    class s_succeeded success\n" in made


def test_a_states_name_in_mermaid_is_none_of_its_words(spec_of):
    made = diagram(spec_of("scale", "root_start", "go"), format="mermaid")
    assert made.splitlines()[:5] == [
        "stateDiagram-v2",
        '    state "scale" as s_scale',
        '    state "root_start" as s_root_start',
        "    [*] --> s_scale",
        "    s_scale --> s_root_start: go ⏰",
    ]


def test_mermaid_names_what_is_no_identifier(spec_of):
    made = diagram(spec_of("to do", "da;ne", "go: #1"), format="mermaid")
    assert made.splitlines()[1:5] == [
        '    state "to do" as s1',
        '    state "da#59;ne" as s2',
        "    [*] --> s1",
        "    s1 --> s2: go#58; #35;1 ⏰",
    ]


def test_mermaid_shows_the_title_and_the_direction_that_are_asked_for(spec_of):
    made = diagram(spec_of("a", "b", "go"), format="mermaid", title='The "<b>": #1', direction="LR")
    assert made.splitlines()[:5] == [
        "---",
        'title: "The \\"\\u003cb>\\": #1"',
        "---",
        "stateDiagram-v2",
        "    direction LR",
    ]
