"""The raw results, as JSON: one a target of the Makefile, and the figures drawn from them."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

__all__ = ["FOLDER", "NAMES", "per_run", "rate", "ratio", "read", "rounded", "write"]

FOLDER = Path(__file__).parent / "results"
NAMES = ("bench", "flows", "peers", "scale")


def read() -> dict[str, Any]:
    """Return all results by name; None for what was never measured."""
    paths = {name: FOLDER / f"{name}.json" for name in NAMES}
    return {
        name: json.loads(path.read_text("utf-8")) if path.exists() else None for name, path in paths.items()
    }


def write(name: str, found: dict[str, Any]) -> None:
    """Store one result."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def rounded(value: Any) -> Any:
    """Return a result whose numbers have six digits: more would be noise in the repository."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list) else value


def _parts(sample: dict[str, Any], part: str | None) -> list[dict[str, Any]]:
    if "create" not in sample:
        return [sample]
    return [sample["create"], sample["drain"]] if part is None else [sample[part]]


def rate(samples: list[dict[str, Any]], part: str | None = None) -> float:
    """Return the median of runs a second; of bulk the part "create" or "drain", or both together."""
    return median(_rate(sample, part) for sample in samples)


def _rate(sample: dict[str, Any], part: str | None) -> float:
    parts = _parts(sample, part)
    return float(parts[0]["runs"] / sum(each["seconds"] for each in parts))


def ratio(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], part: str | None = None) -> float:
    """Return the median of each round's ratio of two rates."""
    pairs = zip(ours, theirs, strict=True)
    return median(_rate(mine, part) / _rate(other, part) for mine, other in pairs)


def per_run(samples: list[dict[str, Any]], what: str, part: str | None = None) -> float | None:
    """Return the median of what a run takes: "cpu" (in seconds), "switches", or a count."""

    def one(sample: dict[str, Any]) -> float | None:
        parts = _parts(sample, part)
        values = [each.get(what, each["counts"].get(what)) for each in parts]
        return None if None in values else sum(values) / parts[0]["runs"]

    found = [value for sample in samples if (value := one(sample)) is not None]
    return median(found) if found else None
