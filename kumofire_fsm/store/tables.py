"""The names and columns of the tables, shared by the statements."""

from __future__ import annotations

from typing import Final

__all__ = ["BODIES", "EDGES", "JOBS", "RUNS", "SCHEMA"]

RUNS: Final = "kumofire_runs"
BODIES: Final = "kumofire_bodies"
JOBS: Final = "kumofire_jobs"
EDGES: Final = "kumofire_edges"
SCHEMA: Final = "kumofire_schema"
