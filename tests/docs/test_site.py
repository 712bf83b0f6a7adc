"""The site: everything that mkdocs is given is there, each link stays inside, and each page is in the index."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from pages import ROOT, anchors, links

CONFIGURATION = (ROOT / "docs" / "site" / "mkdocs.yml").read_text("utf-8")


def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_build", ROOT / "docs" / "site" / "build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    program().laid_out(folder)
    return folder / "pages"


def test_every_link_leads_to_something_on_the_site(laid_out: Path) -> None:
    broken = []
    for page in laid_out.rglob("*.md"):
        text = page.read_text("utf-8")
        for target in links(text):
            file, _, anchor = target.partition("#")
            there = (page.parent / file).resolve() if file else page
            found = there.read_text("utf-8") if anchor and there.is_file() else ""
            known = {"", *anchors(found), *re.findall(r"\{#([\w-]+)\}", found)}
            if not there.is_file() or not there.is_relative_to(laid_out) or anchor not in known:
                broken.append(f"{page.relative_to(laid_out)}: {target}")
    assert broken == []


def test_the_index_of_the_site_names_every_page_once(laid_out: Path) -> None:
    named = re.findall(r"^ +- .*: (\S+\.md)$", CONFIGURATION, re.MULTILINE)
    assert sorted(named) == sorted(path.relative_to(laid_out).as_posix() for path in laid_out.rglob("*.md"))


def test_warnings_are_errors() -> None:
    assert re.search(r"^strict: true$", CONFIGURATION, re.MULTILINE)
    assert re.findall(r"^  (\w+): warn$", CONFIGURATION, re.MULTILINE) == [
        "omitted_files",
        "absolute_links",
        "unrecognized_links",
        "anchors",
    ]


def test_what_is_built_is_not_committed() -> None:
    assert "build/" in (ROOT / ".gitignore").read_text("utf-8").splitlines()
