"""The page of promises names tests that exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "guarantees.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"(tests/[\w/]+\.py)(?:::(\w+))?", PAGE)))


def functions(file: Path) -> set[str]:
    tree = ast.parse(file.read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_the_page_names_exists(file: str, name: str) -> None:
    assert (ROOT / file).is_file()
    assert not name or name in functions(ROOT / file)


def test_every_promise_names_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| **")]
    assert len(rows) >= 12
    assert [line for line in rows if "::test_" not in line and "tests/" not in line] == []


def test_each_invariant_of_the_simulator_stands_beside_the_promise_that_it_checks() -> None:
    rows = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| **")]
    listed = [name for row in rows for name in re.findall(r'"([^"]+)"', row[1])]
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
