"""The glossary is in its order, and holds every word that the declarations use."""

import re
from pathlib import Path

import pytest
from pages import ROOT, anchors, page, sections

from kumofire_fsm import JobMachine, RunMachine, signals
from kumofire_fsm.machines import Actor, Lifecycle, Outcome, Role

PAGE = page("glossary.md")
ENTRIES = re.findall(r"^- \*\*(.+?)\*\*: ", PAGE, re.MULTILINE)
SECTIONS = sections(PAGE)
LIFECYCLES = (ROOT / "diagrams" / "lifecycles.md").read_text("utf-8")


def tabled(heading: str) -> dict[str, str]:
    """Return the words of a section's table, and what each is."""
    rows = [line.split(" | ") for line in SECTIONS[heading].splitlines() if line.startswith("| `")]
    return {word: row[1] for row in rows for word in re.findall(r"`(\w+)`", row[0])}


def test_each_word_has_one_entry() -> None:
    assert len(ENTRIES) >= 80
    assert [word for word in set(ENTRIES) if ENTRIES.count(word) > 1] == []


def test_the_words_after_the_first_are_alphabetical() -> None:
    words = re.findall(r"^- \*\*(.+?)\*\*: ", SECTIONS["How things happen"], re.MULTILINE)
    assert words == sorted(words, key=lambda word: word.replace("\\", "").lower())
    assert "the others are alphabetical" in PAGE


@pytest.mark.parametrize(("words", "what"), [(Role, "a role"), (Outcome, "an outcome"), (Actor, "an actor")])
def test_roles_outcomes_and_actors_are_all_there(words: type, what: str) -> None:
    known = tabled("Roles, outcomes and actors")
    assert {word for word, kind in known.items() if kind == what} == {each.value for each in words}


@pytest.mark.parametrize(
    ("machine", "heading"),
    [(RunMachine, "States and events of runs"), (JobMachine, "States and events of schedules")],
)
def test_states_and_events_are_all_there_and_explained_beside_the_diagrams(
    machine: type[Lifecycle], heading: str
) -> None:
    known = tabled(heading)
    states = {word for word, kind in known.items() if "state" in kind}
    events = {word for word, kind in known.items() if "event" in kind}
    assert states == {state.id for state in machine.spec.states}
    assert events == {event.id for event in machine.spec.events}
    assert [word for word in states if f"**`{word}`**" not in LIFECYCLES] == []
    assert [word for word in events if f"| `{word}` | " not in LIFECYCLES] == []
    people = {word for word, kind in known.items() if kind == "a person's events"}
    assert people == set(machine.spec.events_by(Actor.PERSON))
    settled = {word for word, kind in known.items() if "settled" in kind}
    assert settled == set(machine.spec.with_role(Role.SETTLED))


def test_every_signal_is_named() -> None:
    names = [name for name in signals.__all__ if name != "Signal"]
    (entry,) = re.findall(r"- \*\*signal\*\*: (.*?)\n- ", PAGE, re.DOTALL)
    assert [name for name in names if f"`{name}`" not in entry] == []


def test_every_word_of_the_design_is_defined() -> None:
    wanted = """
        job run schedule occurrence attempt start claim lease fence event fire transition edge state role guard
        deadline settle settled ending outcome hint message disposition dispatch consume handler hook redrive
        snooze release backoff suspect prune sweep home room verb binding neighbour simulator stale
    """
    phrases = ["dedupe key", "claim token", "retry policy", "poison run", "shared loss", "embedded runtime"]
    assert [word for word in [*wanted.split(), *phrases] if word not in ENTRIES] == []


def test_the_first_words_use_no_word_before_it_is_defined() -> None:
    first = re.findall(
        r"^- \*\*(.+?)\*\*: (.*?)(?=^- |\Z)", SECTIONS["The first words"], re.DOTALL | re.MULTILINE
    )
    assert len(first) >= 12
    early: list[str] = []
    defined: set[str] = set()
    for word, text in first:
        defined.add(word)
        plain = re.sub(r"`[^`]*`", "", text)
        early += [
            f"{word}: {other}"
            for other in ENTRIES
            if other not in defined and re.search(rf"\b{re.escape(other)}s?\b", plain)
        ]
    assert early == []


PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
GIVEN_UP = r"[Ll]anes?|[Vv]erdicts?|[Rr]hythms?|[Pp]hases?"
SECOND_MEANINGS = {
    "retry": r"messages? (?:is|are) retried|retr(?:y|ies) (?:of )?(?:the|a|each|every) message|retried (?:into|after)",
    "release": r"(?:[Tt]wo|later|earlier|older|newer) releases?\b|(?:this|a) release\b|(?:is|are) released",
    "body": r"bare body|(?:message|hint)(?:'s)? body|body of (?:a|the) (?:message|hint)",
    "bind": r"binds every|(?:statements|values?|numbers?|application was (?:opened or )?) ?bound|a bound\b|\bbounds\b",
    "alone": r"fails alone",
}
"""What would give a word of the glossary a second meaning: say that a message is delivered again, say "version",
"message", "passed" and "limit"."""
UNCLEAR = r"belongs? into|will do to|(?<![Tt]here )is no (?!longer)|is none\b|are none\b"


def found(pattern: str, pages: list[Path]) -> list[str]:
    words = re.compile(rf"\b(?:{pattern})")
    return [f"{each.name}: {match[0]}" for each in pages for match in words.finditer(each.read_text("utf-8"))]


def test_words_that_were_given_up_are_used_nowhere() -> None:
    assert found(rf"(?:{GIVEN_UP})\b", PAGES) == []


@pytest.mark.parametrize("word", SECOND_MEANINGS)
def test_a_word_of_the_glossary_has_one_meaning_on_every_page(word: str) -> None:
    pages = [each for each in [*PAGES, ROOT / "CHANGELOG.md"] if each.name != "sql.md"]
    assert found(SECOND_MEANINGS[word], pages) == []


def test_no_entry_of_the_glossary_gives_two_meanings() -> None:
    assert re.findall(r"[.;] Also (?:the|a|of)\b|\. Of an? \w+:", PAGE) == []


def test_the_pages_are_in_plain_english() -> None:
    assert found(UNCLEAR, [*PAGES, ROOT / "CHANGELOG.md"]) == []


def test_the_pages_lead_to_the_glossary_before_they_use_its_words() -> None:
    assert "the-first-words" in anchors(PAGE)
    for name in ("jobs.md", "lifecycles.md", "how-it-works.md", "reference.md", "index.md", "guarantees.md"):
        assert "(glossary.md" in page(name), name
