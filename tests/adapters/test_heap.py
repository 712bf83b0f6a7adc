"""Statements with temporary tables do not make the C library give its heap back and take it again."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROUNDS = 300
STATEMENTS = f"""
import asyncio, resource, sys
from kumofire_fsm.adapters.sqlite import SqliteStorage
from kumofire_fsm.ports import Statement

TABLES = [f"t{{i}} AS MATERIALIZED (SELECT value FROM json_each('[1, 2]') ORDER BY value)" for i in range(12)]
SQL = "WITH " + ", ".join(TABLES) + " SELECT 1 FROM " + ", ".join(f"t{{i}}" for i in range(12)) + " LIMIT 1"

async def main():
    storage = SqliteStorage(sys.argv[1])
    statement = Statement("tables", SQL, reads=True)
    for number in range({ROUNDS} + 50):
        if number == 50:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        await storage.execute(statement)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    await storage.close()

asyncio.run(main())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have other bounds")
def test_statements_with_temporary_tables_fault_no_pages_in(tmp_path: Path) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", STATEMENTS, str(tmp_path / "jobs.db")]
    told = subprocess.run(command, capture_output=True, text=True, check=True, env=own)
    assert int(told.stdout) < ROUNDS / 10  # without `keep_heap` some 170 at each
