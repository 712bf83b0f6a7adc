"""Diagrams as SVG, PNG and DOT: complete, readable anywhere, and the same bytes each time."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from contextlib import nullcontext

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slices import examples

from kumofire_fsm import InvalidArgument, JobMachine, RunMachine, diagram
from kumofire_fsm.drawing import _engines as engines
from kumofire_fsm.drawing._labels import plain
from kumofire_fsm.drawing._theme import DARK, LIGHT
from kumofire_fsm.errors import DrawingError, MissingPackage
from kumofire_fsm.machines import Actor, Event, Role

BOTH = pytest.mark.parametrize("machine", [RunMachine, JobMachine])
SVG = "{http://www.w3.org/2000/svg}"
XLINK = "{http://www.w3.org/1999/xlink}"
SCRIPT = """
import hashlib
from kumofire_fsm import JobMachine, RunMachine, diagram
for machine in (RunMachine, JobMachine):
    for form in ("svg", "png", "dot", "mermaid", "md"):
        made = diagram(machine, format=form)
        print(hashlib.sha256(made if form == "png" else made.encode()).hexdigest())
"""


def of_kind(svg: str, kind: str) -> dict[str, ET.Element]:
    """Return the groups of an SVG that are a node or an edge, by their title."""
    groups = [g for g in ET.fromstring(svg).iter(f"{SVG}g") if g.get("class") == kind]
    return {g.findtext(f"{SVG}title"): g for g in groups}


def sides(box: ET.Element) -> tuple[float, float]:
    """Return where a node's box begins and ends."""
    drawn = " ".join(path.get("d") for path in box.iter(f"{SVG}path"))
    across = [float(x) for x in re.findall(r"(-?[\d.]+),", drawn)]
    return min(across), max(across)


@BOTH
def test_every_state_and_every_event_is_a_text(machine, texts):
    shown = texts(diagram(machine, detail=True))
    assert {state.id for state in machine.spec.states} <= set(shown)
    assert {event.id for event in machine.spec.events} <= set(shown)


def test_the_same_bytes_twice_and_in_processes_with_other_hash_seeds():
    environments = [os.environ | {"PYTHONHASHSEED": seed} for seed in ("0", "1")]
    made = [
        subprocess.run([sys.executable, "-c", SCRIPT], env=each, capture_output=True, text=True, check=True)
        for each in environments
    ]
    assert made[0].stdout == made[1].stdout
    assert hashlib.sha256(diagram(RunMachine).encode()).hexdigest() == made[0].stdout.split()[0]


@BOTH
@pytest.mark.parametrize("form", ["svg", "dot", "md", "mermaid"])
def test_no_version_and_no_comment_is_in_what_is_committed(machine, form):
    made = diagram(machine, format=form)
    assert not re.search(r"<!--|graphviz|Generated", made)
    assert made.endswith("\n")


def test_states_of_a_role_have_its_colours_and_settled_ones_those_of_their_outcome():
    nodes = of_kind(diagram(RunMachine), "node")
    for state in RunMachine.spec.states:
        tint = LIGHT.tint(state.outcome or state.role)
        drawn = {path.get("fill") for path in nodes[state.id].iter(f"{SVG}path")}
        assert tint.fill in drawn
        borders = [p for p in nodes[state.id].iter(f"{SVG}path") if p.get("stroke") == tint.border]
        assert len(borders) == (2 if state.role is Role.SETTLED else 1)


def test_settled_states_stand_in_one_row():
    nodes = of_kind(diagram(RunMachine), "node")
    heights = {nodes[s].find(f".//{SVG}text").get("y") for s in RunMachine.spec.with_role(Role.SETTLED)}
    assert len(heights) == 1


def test_what_a_deadline_fires_is_dashed_or_has_a_clock():
    edges = of_kind(diagram(RunMachine), "edge")
    dashed = {title for title, edge in edges.items() if any(p.get("stroke-dasharray") for p in edge.iter())}
    assert dashed == {
        "ready->queued",
        "queued->retrying",
        "queued->held",
        "held->held",
    }  # two from their targets
    clocks = [e for e in ET.fromstring(diagram(RunMachine)).iter() if e.get(f"{XLINK}title") == "deadline"]
    assert len(clocks) == 15  # in five states, on nine arrows, and in the legend


def test_an_event_of_every_state_of_a_role_is_one_arrow_from_its_frame(texts):
    shown = texts(diagram(RunMachine))
    assert [shown.count(event) for event in ("start", "expire", "succeed", "stop")] == [1, 2, 1, 1]
    dot = diagram(RunMachine, format="dot")
    assert dot.count("ltail=cluster_claimable") + dot.count("lhead=cluster_claimable") == 3
    assert dot.count("ltail=cluster_leased") == 2


def test_a_long_guard_is_a_note_under_the_picture(texts):
    shown = " ".join(texts(diagram(RunMachine, detail=True)))
    assert "[attempt < max_attempts]" in shown
    assert shown.count("run_at <= now and") == 2, "of a start, and of what holds a run back"
    assert "run_at <= now and" not in " ".join(texts(diagram(RunMachine, legend=False, detail=True)))


def test_what_the_package_does_for_itself_is_shown_if_asked_for(texts):
    """Events that change no state and that no person fires, and guards that are long or several."""
    short, whole = (texts(diagram(RunMachine, detail=detail)) for detail in (False, True))
    internal = {"heartbeat", "nudge", "redeliver"}
    assert internal <= set(whole)
    assert not internal & set(short)
    assert "not shown: redeliver, nudge, heartbeat" in short
    assert not any(text.startswith("not shown") for text in whole)
    assert [sum("shared == 1" in text for text in shown) for shown in (short, whole)] == [0, 1]
    assert [shown.count("lose") for shown in (short, whole)] == [3, 4]
    assert [sum(text == "the hint seems lost" for text in shown) for shown in (short, whole)] == [0, 1]
    assert {"[attempt < max_attempts]", "reschedule", "redrive", "start", "expire"} <= set(short)
    mermaid = diagram(RunMachine, format="mermaid")
    assert not any(event in mermaid for event in internal)


class Remarked(RunMachine):
    """A run on which a person may remark without moving it."""

    remark = Event(RunMachine.ready.to.itself(), by=Actor.PERSON)


def test_what_a_person_fires_is_always_shown(texts):
    assert "remark" in texts(diagram(Remarked))


def test_a_lifecycle_without_internals_is_the_same_with_every_detail(spec_of):
    spec = spec_of("open", "closed", "close")
    assert diagram(spec) == diagram(spec, detail=True)
    assert "advance" in diagram(JobMachine)  # it makes runs, and ends the job after the last


WIDE = 1.18
"""How much wider DejaVu Sans is than Helvetica: where a renderer has no other, and knows no `textLength` (CairoSVG)."""


@pytest.mark.parametrize("options", [{}, {"detail": True}, {"counts": {"ready": 1234}}, {"direction": "LR"}])
def test_every_text_is_as_wide_as_its_box_was_made_for(options):
    """Whatever font the reader has: a wider one is squeezed."""
    svg = diagram(RunMachine, **options)
    found = list(ET.fromstring(svg).iter(f"{SVG}text"))
    assert {(each.get("lengthAdjust"), each.text.isascii()) for each in found} == {("spacingAndGlyphs", True)}
    left, _, width, _ = map(float, ET.fromstring(svg).get("viewBox").split())
    ends = [float(each.get("x")) + float(each.get("textLength")) for each in found]
    assert left < max(ends) < width
    boxes = of_kind(svg, "node")
    for name, box in boxes.items():
        if name.strip() == "start":
            continue
        edges = [
            float(x) for path in box.iter(f"{SVG}path") for x in re.findall(r"(-?[\d.]+),", path.get("d"))
        ]
        for text in box.iter(f"{SVG}text"):
            start = float(text.get("x"))
            assert min(edges) + 8 < start < start + float(text.get("textLength")) < max(edges) - 8
            assert start + WIDE * float(text.get("textLength")) < max(edges), text.text


def test_a_text_that_graphviz_cannot_measure_keeps_its_font_and_has_room(spec_of):
    svg = diagram(spec_of("待处理", "مكتمل", "批准", "十分钟"))
    found = {each.text: each for each in ET.fromstring(svg).iter(f"{SVG}text")}
    assert {found[text].get("textLength") for text in ("待处理", "مكتمل", "批准", "十分钟")} == {None}
    box = of_kind(svg, "node")["_state_1"]
    assert float(found["十分钟"].get("x")) + 3 * 9 < sides(box)[1]


def test_nothing_but_colours_and_fonts_comes_from_a_style_sheet():
    """Renderers that know no CSS, or not all of it, lose no label and cover none."""
    root = ET.fromstring(diagram(RunMachine))
    rules = root.findtext(f"{SVG}style")
    assert set(re.findall(r"([\w-]+):", rules.replace("prefers-color-scheme:", ""))) == {
        "font-family",
        "fill",
        "stroke",
    }
    assert rules.count("text") == 1
    assert not [e for e in root.iter(f"{SVG}text") if e.get("stroke")]


@BOTH
def test_clocks_and_samples_are_drawn_and_not_typed(machine):
    """So that they need no font, in a PNG either."""
    assert diagram(machine, format="dot").isascii()


LETTERS = "aZ~éßŁŞƏΑωЖяҖѲאתẞỹἀ—“”…₂€→≤≥≠∞√½"
LACKING = "日本あ한عไሀ⏰✓🕐ⅷ①ﷺ"


def drawn_alone(letter: str) -> bytes:
    return engines.render(f'graph {{node [fontname=Helvetica] a [label="{letter}"]}}', "png", "bundled")


def test_a_png_warns_of_what_it_can_show_only_as_boxes(spec_of):
    """The bundled engine's fonts are known by their pictures: what they lack looks like what all fonts lack."""
    for letter in LETTERS:
        assert drawn_alone(letter) != drawn_alone("?"), letter
    for letter in LACKING:
        with pytest.warns(UserWarning, match=f"no font for {letter}, and shows boxes.* draw an SVG"):
            drawn_alone(letter)
    with pytest.warns(UserWarning, match="no font for 日 本 ع, and shows boxes"):
        diagram(spec_of("日本", "ع", "go"), format="png")


def test_an_svg_does_not_warn_of_it_nor_the_systems_engine(spec_of, tmp_path, monkeypatch):
    (tmp_path / "dot").symlink_to(engines._bundled())
    monkeypatch.setenv("PATH", str(tmp_path))
    spec = spec_of("日本", "ع", "go")
    assert "日本" in diagram(spec)
    assert diagram(spec, format="png", engine="system")


def test_no_light_colour_stands_for_two_things():
    assert len(set(LIGHT.colours())) == len(LIGHT.colours()) == len(DARK.colours())


def test_only_an_automatic_theme_turns_dark():
    made = {theme: diagram(RunMachine, theme=theme) for theme in ("auto", "light", "dark")}
    assert ["prefers-color-scheme" in svg for svg in made.values()] == [True, False, False]
    assert f'fill="{LIGHT.page}"' in made["light"]
    assert f'fill="{DARK.page}"' in made["dark"]
    assert not set(LIGHT.colours()) & set(re.findall("#[0-9a-f]{6}", made["dark"]))


def test_a_title_is_read_out_and_may_be_left_out(texts):
    assert "The lifecycle of a run" in texts(diagram(RunMachine))
    root = ET.fromstring(diagram(RunMachine, title='A "better" <title>'))
    assert (root.get("role"), root.get("aria-label")) == ("img", 'A "better" <title>')
    assert "The lifecycle of a run" not in texts(diagram(RunMachine, title=""))


def test_a_png_is_a_png_and_a_direction_turns_the_picture():
    assert diagram(RunMachine, format="png").startswith(b"\x89PNG\r\n")
    size = [
        re.search(r'width="(\d+)pt" height="(\d+)pt"', diagram(RunMachine, direction=d)) for d in ("TB", "LR")
    ]
    assert int(size[0][1]) < int(size[1][1])


def test_a_lifecycle_that_inherits_is_drawn_with_what_it_adds(approved_run, texts):
    shown = texts(diagram(approved_run))
    assert {"approval", "approve", "waiting", *(s.id for s in RunMachine.spec.states)} <= set(shown)
    assert diagram(approved_run) == diagram(approved_run.spec)


NASTY = [
    "a<b>&amp;",
    'say "no"',
    "two\nlines",
    "日本 ⏰ é",
    "back\\slash\\N",
    "a:b|c{d}",
    "<b>bold</b>",
    "node",
]


@pytest.mark.parametrize("name", NASTY)
def test_any_text_is_shown_as_it_is(name, spec_of, texts):
    spec = spec_of(name, f"{name}2", f"{name}3", f"{name} in words")
    shown = texts(diagram(spec))
    assert {plain(name), plain(f"{name}2"), plain(f"{name}3")} <= set(shown)
    article = "an" if name.startswith("a") else "a"
    assert f"The lifecycle of {article} {plain(name)} in words" in shown
    with nullcontext() if "日" not in name else pytest.warns(UserWarning, match="no font for 日 本 ⏰,"):
        assert diagram(spec, format="png").startswith(b"\x89PNG")


WORD = st.text(min_size=1, max_size=12).filter(plain)


@given(names=st.lists(WORD, min_size=3, max_size=3, unique_by=plain), words=st.text(max_size=40))
@settings(
    max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_text_breaks_a_drawing(spec_of, names, words):
    ET.fromstring(diagram(spec_of(*names, words)))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"format": "gif"}, "format must be svg or png or dot or mermaid or md; found 'gif'"),
        ({"theme": "blue"}, "theme must be auto or light or dark; found 'blue'"),
        ({"direction": "BT"}, "direction must be TB or LR; found 'BT'"),
        ({"engine": "neato"}, "engine must be bundled or system; found 'neato'"),
        ({"format": "md", "counts": {}}, "'md' shows neither a path nor counts; use svg, png or dot"),
        ({"format": "mermaid", "path": []}, "'mermaid' shows neither a path nor counts; use svg, png or dot"),
    ],
)
def test_an_unknown_option_is_refused(wrong, said):
    with pytest.raises(InvalidArgument, match=re.escape(said)):
        diagram(RunMachine, **wrong)


@pytest.mark.parametrize("machine", [None, "RunMachine", int])
def test_what_is_no_lifecycle_is_refused(machine):
    with pytest.raises(InvalidArgument, match="is not a lifecycle; give a class such as RunMachine"):
        diagram(machine)


def test_the_systems_engine_is_the_program_dot(tmp_path, monkeypatch):
    program = tmp_path / "dot"
    program.symlink_to(engines._bundled())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert diagram(RunMachine, engine="system") == diagram(RunMachine)


def test_without_the_systems_engine_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPackage, match=r"no program 'dot' on the path.*kumofire_fsm\[diagrams\]"):
        diagram(RunMachine, engine="system")


@pytest.mark.parametrize("blocked", ["import graphviz", "graphviz-pure"])
def test_without_the_extra_the_error_says_what_to_install(blocked, monkeypatch):
    if blocked == "import graphviz":
        monkeypatch.setitem(sys.modules, "graphviz", None)
    else:
        monkeypatch.setattr(engines, "_PACKAGE", "graphviz-that-is-not-there")
    with pytest.raises(MissingPackage, match=r"pip install 'kumofire_fsm\[diagrams\]'"):
        diagram(RunMachine)


def test_mermaid_and_tables_need_no_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "graphviz", None)
    assert diagram(RunMachine, format="mermaid").startswith("stateDiagram-v2")
    assert diagram(RunMachine, format="md").startswith("## The lifecycle of a run")


def test_what_the_engine_refuses_is_an_error_with_its_words():
    with pytest.raises(DrawingError, match=r"gave no svg .*syntax error"):
        engines.render("digraph {", "svg", "bundled")


def test_importing_the_package_imports_no_drawing():
    script = "import sys, kumofire_fsm; print([m for m in sys.modules if 'graphviz' in m or 'drawing' in m])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_name_that_the_package_lacks_is_an_attribute_error():
    package, name = sys.modules["kumofire_fsm"], "diagrams"
    with pytest.raises(AttributeError, match="has no attribute 'diagrams'"):
        getattr(package, name)
