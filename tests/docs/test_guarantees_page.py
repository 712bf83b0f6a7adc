"""The page of promises names tests that exist, and every invariant of the simulator."""

import ast
import re
from pathlib import Path

import pytest
from pages import ROOT, page, sections

PAGE = page("guarantees.md")
PROMISES = sections(re.search(r"^## Promised\n(.*?)^## ", PAGE, re.DOTALL | re.MULTILINE)[1], level=3)
LINES = re.DOTALL | re.MULTILINE
NAMED = sorted(set(re.findall(r"(tests/[\w/]+\.py)(?:::(\w+))?", PAGE)))


def functions(file: Path) -> set[str]:
    tree = ast.parse(file.read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_the_page_names_exists(file: str, name: str) -> None:
    assert (ROOT / file).is_file()
    assert not name or name in functions(ROOT / file)


def test_each_promise_is_a_heading_a_sentence_and_what_holds_it() -> None:
    assert len(PROMISES) >= 19
    for heading, text in PROMISES.items():
        sentence, *holds = text.strip().split("\n\n")
        assert re.fullmatch(r"[^#\-\"].*\.", sentence, re.DOTALL), heading
        assert [each for each in holds if not each.startswith(("Invariants: ", "Tests:", "- `tests/"))] == []


def test_every_promise_names_a_test() -> None:
    without = [
        heading for heading, text in PROMISES.items() if not re.search(r"^- `tests/", text, re.MULTILINE)
    ]
    assert without == []


def test_each_invariant_of_the_simulator_stands_beside_the_promise_that_it_checks() -> None:
    named = [
        found for text in PROMISES.values() for found in re.findall(r"^Invariants: (.*?)\.$", text, LINES)
    ]
    listed = [name for each in named for name in re.findall(r'"([^"]+)"', each.replace("\n", " "))]
    sources = (ROOT / "tests" / "simulation").glob("*.py")
    checked = set(re.findall(r'found\(\s*"([^"]+)"', "".join(file.read_text("utf-8") for file in sources)))
    assert len(listed) == len(set(listed))
    assert set(listed) == checked


def test_every_regression_of_known_defects_is_a_test_that_says_what_other_systems_do() -> None:
    tree = ast.parse((ROOT / "tests" / "test_known_defects.py").read_text("utf-8"))
    tests = [
        node for node in tree.body if isinstance(node, ast.AsyncFunctionDef) and node.name[:5] == "test_"
    ]
    assert len(tests) >= 10
    assert [node.name for node in tests if not (ast.get_docstring(node) or "").startswith("Elsewhere:")] == []


def test_every_target_that_the_page_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert all(f"\n{target}:" in makefile for target in set(re.findall(r"make ([a-z]+(?:-[a-z]+)*)`", PAGE)))
