"""The page on schedules: its files run as they stand, and its commands print what it says."""

import re
import shlex
from dataclasses import fields
from pathlib import Path

from scripts import ROOT, run_python

from kumofire_fsm import Jobs, NewSchedule, Schedule

PAGE = (ROOT / "docs" / "schedules.md").read_text("utf-8")
FILES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL))
SESSIONS = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
PROGRAMS = {"kumofire": ["-m", "kumofire_fsm.cli"], "python": []}


def test_the_page_s_commands_print_what_it_says_in_their_order(tmp_path: Path) -> None:
    assert list(FILES) == ["recurring.py", "manage.py"]
    assert PAGE.count("```python") == len(FILES)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    said, printed = [], []
    for session in SESSIONS:
        for command, output in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", session, re.MULTILINE):
            said.append((command, output))
            program, *arguments = shlex.split(command)
            done = run_python(tmp_path, *PROGRAMS[program], *arguments)
            assert (done.returncode, done.stderr) == (0, "")
            printed.append((command, done.stdout))
    assert len(said) == 4
    assert printed == said


def test_the_page_names_every_option_every_verb_and_what_is_recorded() -> None:
    options = {field.name for field in fields(NewSchedule)} - {"name", "payload", "schedule_key"}
    verbs = {name for name in dir(Jobs) if re.search(r"(^|_)schedule", name) and not name.endswith("_by_key")}
    recorded = {name for name in (field.name for field in fields(Schedule)) if name.startswith("skipped")}
    missing = {
        name for name in options | verbs | recorded | {"trigger_now"} if not re.search(rf"\b{name}\b", PAGE)
    }
    assert not missing
