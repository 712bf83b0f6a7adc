"""The path that a run took, and how many rows are in each state."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from datetime import timedelta

import pytest

from kumofire_fsm import InvalidArgument, RunMachine, diagram
from kumofire_fsm.drawing._picture import picture_of
from kumofire_fsm.drawing._theme import LIGHT
from kumofire_fsm.values.times import brief

SVG = "{http://www.w3.org/2000/svg}"
MOVES = [
    ("create", "ready", 0),
    ("start", "running", 0.25),
    ("retry", "retrying", 12.3),
    ("start", "running", 75),
    ("fail", "failed", 7300),
]


def steps(picture):
    return [(s.number, s.source, s.event, s.target) for s in picture.steps]


def test_a_path_is_the_moves_in_their_order(history):
    assert steps(picture_of(RunMachine.spec, path=history(*MOVES))) == [
        (1, None, "create", "ready"),
        (2, "ready", "start", "running"),
        (3, "running", "retry", "retrying"),
        (4, "retrying", "start", "running"),
        (5, "running", "fail", "failed"),
    ]


def test_each_step_shows_its_number_its_event_and_its_time(history, texts):
    shown = texts(diagram(RunMachine, path=history(*MOVES)))
    for number, event, when in [
        ("1", "create", "2026-11-23 12:00:00 UTC"),
        ("2", "start", "+250 ms"),
        ("3", "retry", "+12.3 s"),
        ("4", "start", "+1 min 15 s"),
        ("5", "fail", "+2 h 01 min"),
    ]:
        at = shown.index(when)
        assert shown[at - 2 : at + 1] == [number, event, when]


def test_what_the_run_did_not_do_is_dimmed_and_without_words(history, texts):
    svg = diagram(RunMachine, path=history(*MOVES))
    assert not {"redrive", "snooze", "succeed"} & set(texts(svg))
    edges = [g for g in ET.fromstring(svg).iter(f"{SVG}g") if g.get("class") == "edge"]
    colours = [next(g.iter(f"{SVG}path")).get("stroke") for g in edges]
    assert colours.count(LIGHT.path) == 5
    assert set(colours) == {LIGHT.path, LIGHT.faint}


def test_many_steps_on_one_arrow_are_cut_in_the_middle(history, texts):
    loop = [("start", "running", 2), ("retry", "retrying", 3)] * 9
    shown = texts(diagram(RunMachine, path=history(("create", "ready", 0), *loop)))
    assert "and 5 more" in shown  # retry, nine times: three, and the last
    assert {"3", "5", "7", "19"} <= set(shown)
    assert not {"9", "11", "13", "15", "17"} & set(shown)


def test_a_gap_in_the_history_breaks_the_path(history):
    path = history(("create", "ready", 0), ("truncated", None, None), ("start", "running", 9))
    assert steps(picture_of(RunMachine.spec, path=path)) == [
        (1, None, "create", "ready"),
        (3, None, "start", "running"),
    ]
    assert diagram(RunMachine, path=path)


def test_a_history_without_its_beginning_does_not_lead_from_the_start(history, texts):
    path = history(("truncated", None, None), ("start", "running", 9), ("succeed", "succeeded", 11))
    svg = diagram(RunMachine, path=path)
    assert {"3", "succeed", "+2.0 s"} <= set(texts(svg))
    assert "start" not in texts(svg)
    edges = [g for g in ET.fromstring(svg).iter(f"{SVG}g") if g.get("class") == "edge"]
    assert next(edges[0].iter(f"{SVG}path")).get("stroke") == LIGHT.faint


def test_an_empty_history_dims_everything(texts):
    assert "create" not in texts(diagram(RunMachine, path=[]))


def test_counts_stand_in_the_boxes_of_their_states(texts):
    shown = texts(diagram(RunMachine, counts={"queued": 1204, "failed": 0}))
    assert shown[shown.index("queued") + 1 :][:2].count("1,204") == 1
    assert "0" in shown


@pytest.mark.parametrize(("count", "shown"), [(0, "0"), (7, "7"), (1_234_567, "1,234,567")])
def test_a_count_is_grouped_by_thousands(count, shown, texts):
    assert shown in texts(diagram(RunMachine, counts={"ready": count}))


def test_an_unknown_state_is_refused(history):
    said = re.escape("'gone', which the machine 'run' lacks; it has ready, queued, running")
    with pytest.raises(InvalidArgument, match=f"the counts name {said}"):
        diagram(RunMachine, counts={"gone": 1})
    with pytest.raises(InvalidArgument, match=f"the path leads to {said}"):
        diagram(RunMachine, path=history(("create", "gone", 0)))


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 ms"), (0.9994, "999 ms"), (1, "1.0 s"), (59.94, "59.9 s"), (60, "1 min 00 s"), (3599, "59 min 59 s"),
        (3600, "1 h 00 min"), (47 * 3600 + 59, "47 h 00 min"), (48 * 3600, "2 d 00 h"),
    ],
)  # fmt: skip
def test_a_duration_has_the_precision_that_matters(seconds, shown):
    assert brief(timedelta(seconds=seconds)) == shown
