"""Writes the files of this folder, and the examples' pictures, from the declarations: ``make diagrams``."""

import runpy
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kumofire_fsm import HistoryEntry, JobMachine, RunMachine, diagram

FOLDER = Path(__file__).parent
FLOWS = {"order": "Order", "approval": "Approval", "nightly_import": "NightlyImport"}
RUN = {"title": "The lifecycle of a run", "direction": "TB"}
JOB = {"title": "The lifecycle of a recurring job", "direction": "LR"}
HEAD = """\
# Lifecycles

Written by `make diagrams` from `kumofire_fsm/machines/`. A state is *entered by* and *left by* events; its
deadline fires the first of the events it names whose guard holds. Every move that changes the state also
writes `state` and `history`, and every event the next deadline, `wake_at`; what else it assigns stands last.
The pictures leave out events that change no state and that no person fires; the tables have them.
"""
MOVES = [("enqueue", 0.02), ("start", 0.4), ("retry", 12.3), ("start", 14.4), ("lose", 44), ("start", 61)]


def example() -> list[HistoryEntry]:
    """Return the history of a run that failed, lost its worker, and succeeded."""
    began, spec = datetime(2026, 1, 5, 9, 30, tzinfo=UTC), RunMachine.spec
    history = [HistoryEntry("create", spec.initial.id, began)]
    for event, seconds in [*MOVES, ("succeed", 83.5)]:
        edge = spec.edges_from(str(history[-1].state), event)[0]
        history.append(HistoryEntry(event, edge.target, began + timedelta(seconds=seconds)))
    return history


def files() -> dict[str, str]:
    """Return what every file of the folder must hold."""
    made, page = {}, HEAD
    for machine, look in ((RunMachine, RUN), (JobMachine, JOB)):
        name, title = machine.spec.name, look["title"]
        made[f"{name}.svg"] = diagram(machine, **look)
        made[f"{name}.dot"] = diagram(machine, format="dot", **look)
        made[f"{name}.mmd"] = diagram(machine, format="mermaid")
        tables = diagram(machine, format="md", title=title)
        page += "\n" + tables.replace("\n\n", f"\n\n![{title}]({name}.svg)\n\n", 1)
    path = diagram(RunMachine, path=example(), title="The path of one run")
    return made | {"lifecycles.md": page, "path.svg": path}


def examples() -> dict[str, str]:
    """Return what the pictures of the flows among the examples must hold."""
    made = {}
    for name, flow in FLOWS.items():
        module = runpy.run_path(str(FOLDER.parent / "examples" / "flows" / f"{name}.py"))
        made[f"../examples/flows/{name}.svg"] = diagram(module[flow])
    return made


if __name__ == "__main__":
    for name, text in (files() | examples()).items():
        (FOLDER / name).write_text(text, "utf-8", newline="\n")
