"""The page on how it works names files that exist, every room, and the walk that the code really takes."""

import ast
import importlib
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest
from pages import ROOT, page, sections

PAGE = page("how-it-works.md")
PACKAGE = ROOT / "kumofire_fsm"
FILES = sorted(set(re.findall(r"`((?:kumofire_fsm|migrations|tests|examples)/[\w/.]+\.\w+)`", PAGE)))
ROOMS = {
    row[0].strip("| `"): row[1:]
    for row in (line.split(" | ") for line in sections(PAGE)["Rooms"].splitlines() if line.startswith("| `"))
}
CONTRACT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"][0]


def module_of(file: Path) -> str:
    name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "the root"


@cache
def imports(file: Path) -> set[str]:
    """Return the modules of the package that a file imports."""
    return {
        str(node.module)
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "kumofire_fsm"
    }


SOURCES = [file for file in PACKAGE.rglob("*.py") if "migrations" not in file.parts]


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_the_page_names_exists(file: str) -> None:
    assert (ROOT / file).is_file()


def test_every_room_is_in_the_table_in_the_order_of_the_layers() -> None:
    layers = [re.findall(r"\w+", layer) for layer in CONTRACT["layers"]]
    assert [set(layer) for layer in layers] == [
        set(list(ROOMS)[at : at + len(layer)])
        for layer, at in zip(layers, [sum(map(len, layers[:i])) for i in range(len(layers))], strict=True)
    ]
    found = {
        path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert set(ROOMS) == found - {"__init__"}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_begins_inside_itself(room: str) -> None:
    (begin,) = re.findall(r"`(\S+)`", ROOMS[room][2])
    assert room_of(module_of(ROOT / begin)) == room


@pytest.mark.parametrize("room", ROOMS)
def test_who_imports_a_room_is_who_the_table_says(room: str) -> None:
    users = {
        room_of(module_of(file))
        for file in SOURCES
        if any(room_of(module) == room for module in imports(file)) and room_of(module_of(file)) != room
    } - {"the root"}
    said = ROOMS[room][1]
    above = set(list(ROOMS)[: list(ROOMS).index(room)])
    if re.search(r"every room|all rooms|upwards", said):
        assert users <= above
    else:
        assert users == set(re.findall(r"`(\w+)`", said)), room


WALK = {
    # (who, calls): the source of the first must name the second
    "kumofire_fsm/runs/client.py": ["store_soon", "RowMaker", "NewRun"],
    "kumofire_fsm/runs/creation.py": ["spec.step", "encode_payload"],
    "kumofire_fsm/runs/storing.py": ["follow(", "runs.insert("],
    "kumofire_fsm/cloudflare/_worker.py": ["jobs.dispatch()", "jobs.consume_batch("],
    "kumofire_fsm/work/bound.py": ["dispatcher.dispatch(", "consumer.consume_batch("],
    "kumofire_fsm/work/_dispatcher.py": ["advance_due_schedules(", "sweep(", "budget.event("],
    "kumofire_fsm/schedules/occurrences.py": ["decide(", "insert_occurrences("],
    "kumofire_fsm/work/consumer.py": ["claim_hinted(", "read_message(", "batch.work(", "conclude("],
    "kumofire_fsm/work/batch.py": ["HandlerTasks(", "attempt.perform(", "settle("],
    "kumofire_fsm/work/attempt.py": ["RunContext)(", "succeeded("],
    "kumofire_fsm/work/ending.py": ["Ending("],
    "kumofire_fsm/work/settle.py": ["fire("],
    "kumofire_fsm/engine/moves.py": ["tell_settled(", "send_hints(", "on_moved("],
    "kumofire_fsm/embedded/opening.py": ["migrate(", "WorkerPool("],
    "kumofire_fsm/embedded/_pool.py": ["claim_due(", "HandlerTasks(", "Settling(", "Upkeep("],
    "kumofire_fsm/embedded/_settling.py": ["settle("],
    "kumofire_fsm/embedded/_upkeep.py": ["advance_due_schedules(", "sweep(", "_data_version(", '"heartbeat"'],
}


@pytest.mark.parametrize("file", WALK)
def test_the_walk_is_the_real_one(file: str) -> None:
    source = (ROOT / file).read_text("utf-8")
    assert [call for call in WALK[file] if call not in source] == []
    assert file in FILES


@pytest.mark.parametrize(
    "room", [room for room in ROOMS if (PACKAGE / room).is_dir() and room != "cloudflare"]
)
def test_a_room_says_what_it_is_for(room: str) -> None:
    assert importlib.import_module(f"kumofire_fsm.{room}").__doc__
