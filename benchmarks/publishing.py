"""Puts the raw results into the pages and the chart: between the marks, everything comes from the JSON.

`python benchmarks/publishing.py` writes them anew; with ``--check`` it only tells which are not in step.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from typing import Any

import chart
import results
import tables
from agents import ROOT

__all__ = ["publish", "stale"]

CHART = ROOT / "docs" / "performance.svg"
PAGES = [ROOT / "README.md", ROOT / "docs" / "performance.md", ROOT / "docs" / "scaling.md"]
BLOCK = re.compile(r"(<!-- measured: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str, found: dict[str, Any]) -> str:
    """Return a page with its blocks drawn from the results."""

    def block(match: re.Match[str]) -> str:
        draw: Callable[[dict[str, Any]], str] = tables.BLOCKS[match[2]]
        return f"{match[1]}{draw(found).strip()}\n{match[3]}"

    return BLOCK.sub(block, text)


def drawn() -> dict[Any, str]:
    """Return what each file should hold."""
    found = results.read()
    files = {path: filled(path.read_text("utf-8"), found) for path in PAGES}
    if found["peers"] is not None:
        files[CHART] = chart.svg(found["peers"])
    return files


def stale() -> list[str]:
    """Return the files that are not in step with the raw results."""
    return [
        str(path.relative_to(ROOT))
        for path, text in drawn().items()
        if not path.exists() or path.read_text("utf-8") != text
    ]


def publish(name: str, found: dict[str, Any], *, dry: bool) -> None:
    """Store a result, and write the pages anew; when dry, print it as it would stand there."""
    if dry:
        everything = {**dict.fromkeys(results.NAMES), name: found}
        for each in tables.OF[name]:
            print(f"\n{tables.BLOCKS[each](everything)}")
        return
    results.write(name, found)
    for path, text in drawn().items():
        path.write_text(text, "utf-8")
    print(json.dumps({"stored": name, **found["took"]}))


def main() -> None:
    if "--check" in sys.argv:
        told = [f"{each} is not in step with benchmarks/results: make bench-pages" for each in stale()]
        sys.exit("\n".join(told) or 0)
    for path, text in drawn().items():
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
