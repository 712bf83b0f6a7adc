"""Stands where wrangler is looked for, and executes on SQLite files what ``wrangler d1 execute`` would.

It keeps to what tests/workerd sees the real one do: the same options, answers and words of refusals. A call costs
a hundredth of wrangler's.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

STUB = """#!{python} -S
import json, pathlib, sqlite3, sys

def end(code, said):
    print(json.dumps(said))
    sys.exit(code)

with open({log!r}, "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
name, options = sys.argv[3], sys.argv[4:]
file = pathlib.Path({folder!r}, name + ".sqlite")
if not file.exists():
    end(1, {{"error": {{"text": "Couldn't find a D1 DB with the name or binding '" + name + "' in your wrangler.jsonc file."}}}})
if "--file" in options:
    text = pathlib.Path(options[options.index("--file") + 1]).read_text()
else:
    text = options[options.index("--command") + 1]
db = sqlite3.connect(file, isolation_level=None)
db.row_factory = sqlite3.Row
answers, pending = [], ""
try:
    db.execute("BEGIN")
    for part in text.split(";"):
        pending += part + ";"
        if sqlite3.complete_statement(pending):
            before = db.total_changes
            rows = [dict(row) for row in db.execute(pending)] if pending.strip(" ;\\n") else None
            pending = ""
            if rows is not None:
                meta = {{"duration": 1}}
                if "--remote" in options:
                    meta |= {{"rows_read": len(rows), "rows_written": db.total_changes - before}}
                answers.append({{"results": rows, "success": True, "meta": meta}})
    db.execute("COMMIT")
except sqlite3.Error as exc:
    code = "SQLITE_CONSTRAINT" if isinstance(exc, sqlite3.IntegrityError) else "SQLITE_ERROR"
    end(1, {{"error": {{"text": str(exc) + ": " + code}}}})
end(0, answers)
"""


class StubWrangler:
    """The stub in a folder's node_modules, where the command line looks first.

    Args:
        project: where commands run; the files of databases stand in its ``d1``.
    """

    def __init__(self, project: Path) -> None:
        self.project, self._log = project, project / "wrangler.log"
        bin_folder = project / "node_modules" / ".bin"
        bin_folder.mkdir(parents=True)
        (project / "d1").mkdir()
        script = bin_folder / "wrangler"
        told = {"python": sys.executable, "log": str(self._log), "folder": str(project / "d1")}
        script.write_text(STUB.format(**told))
        script.chmod(0o755)

    def database(self, name: str = "jobs") -> Path:
        """The file of a database; touch it to make one."""
        return self.project / "d1" / f"{name}.sqlite"

    def calls(self) -> list[Any]:
        """The arguments of each call so far."""
        if not self._log.exists():
            return []
        return [json.loads(line) for line in self._log.read_text().splitlines()]
