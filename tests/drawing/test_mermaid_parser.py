"""What we write as Mermaid is read by Mermaid's own parser, whatever the states, events and titles are called."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from node_tools import find_node, install_packages
from slices import examples, sliced

from kumofire_fsm import JobMachine, RunMachine, diagram
from kumofire_fsm.drawing._labels import plain
from kumofire_fsm.machines import MachineSpec

HERE = Path(__file__).resolve().parent / "mermaid"
START = "root_start"
"""What Mermaid calls the initial marker."""

Ask = Callable[[str | None], Any]
SpecOf = Callable[..., MachineSpec]


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """Return what Mermaid makes of a text; for None, the rules of its lexer. One process answers all."""
    node = find_node()
    install_packages(node, HERE)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "encoding": "utf-8"}
    with subprocess.Popen([str(node), str(HERE / "parser.mjs")], **pipes) as process:

        def question(text: str | None) -> Any:
            process.stdin.write(json.dumps(text) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield question
        process.stdin.close()


@pytest.fixture(scope="module")
def words(ask: Ask) -> list[str]:
    """Every word that the grammar knows, and names that Mermaid and JavaScript give to things."""
    found = {"root", START, "root_end", "start", "divider", "TB", "RL", "end note", "direction TB", "as TB"}
    found |= {"__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "undefined", "null"}
    for rule in ask(None):
        found.update(re.findall(r"[a-z][a-z0-9-]+(?: [a-z]+)*", re.sub(r"\\[a-z]", " ", rule), re.IGNORECASE))
    assert {"scale", "note", "state", "class", "classDef", "click", "style", "default", "direction"} <= found
    assert {"hide empty description", "accTitle", "accDescr", "href", "fork", "stateDiagram-v2"} <= found
    return sorted({each for word in found for each in (word, word.upper())})


def shown(ask: Ask, text: str) -> dict[str, Any]:
    """Return what Mermaid read, its names of states replaced by what they are shown as."""
    read = ask(text)
    assert "error" not in read, f"{read['error']}\n{text}"
    names = {name: (said or [name])[0] for name, said in read["states"].items()}
    return read | {
        "states": set(names.values()),
        "arrows": [(names[one], names[other], label) for one, other, label in read["arrows"]],
    }


def check(ask: Ask, spec: MachineSpec, **options: str) -> None:
    """The machine that ``spec_of`` made is read as it is."""
    (one, other), (edge,) = (plain(state.id) for state in spec.states), spec.edges
    read = shown(ask, diagram(spec, format="mermaid", **options))
    assert read["states"] == {START, one, other}
    assert read["arrows"] == [(START, one, ""), (one, other, f"{plain(edge.event)} ⏰")]
    assert read["direction"] == options.get("direction", "TB")


def test_no_word_of_the_grammar_breaks_a_diagram_wherever_it_stands(
    ask: Ask, words: list[str], spec_of: SpecOf
) -> None:
    for word in sliced(words, 3):
        check(ask, spec_of(word, "other", "go"))
        check(ask, spec_of("one", word, word))
        check(ask, spec_of(f"{word} TB", f"the {word}", f"go {word} LR"), title=word, direction="LR")


def test_no_identifier_that_begins_or_ends_like_one_does(ask: Ask, words: list[str], spec_of: SpecOf) -> None:
    for word in sliced([each for each in words if each.isidentifier() and not each.isupper()], 3):
        check(ask, spec_of(f"{word}_", f"s_{word}", f"{word}s"))
        check(ask, spec_of(f"_{word}", f"{word}1", f"_{word}_"))


TEXT = st.text(min_size=1, max_size=12).filter(plain)
SIGNS = st.text(
    st.sampled_from(" \n:;#%{}[]<>-\"'`*_\\|&,.$~+=()asTBdirection1"), min_size=1, max_size=16
).filter(plain)


@given(
    st.lists(st.one_of(TEXT, SIGNS), min_size=2, max_size=2, unique_by=plain), st.one_of(TEXT, SIGNS), TEXT
)
@settings(
    max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_text_does(ask: Ask, spec_of: SpecOf, names: list[str], event: str, title: str) -> None:
    check(ask, spec_of(*names, event), title=title)


@pytest.mark.parametrize("machine", [RunMachine, JobMachine])
def test_a_lifecycle_is_read_as_it_is_declared(ask: Ask, machine: type[RunMachine]) -> None:
    spec = machine.spec
    read = shown(ask, diagram(machine, format="mermaid", title="A: title", detail=True))
    assert read["type"] == "stateDiagram"
    assert read["states"] == {START, *(state.id for state in spec.states)}
    moves = {
        (a, b, event) for a, b, label in read["arrows"] for event in label.replace(" ⏰", "").split(", ")
    }
    assert moves == {(START, spec.initial.id, ""), *((e.source, e.target, e.event) for e in spec.edges)}
    assert {name: kinds for name, kinds in read["classes"].items() if kinds} == {
        f"s_{state.id}": [str(state.outcome or state.role)] for state in spec.states
    }
