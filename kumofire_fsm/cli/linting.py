"""What lint finds in a lifecycle, a flow or an application; a module that fails is itself a finding."""

from __future__ import annotations

import dataclasses
import inspect
import json
import sysconfig
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import kumofire_fsm
from kumofire_fsm import machines as machines_package
from kumofire_fsm.cli.loading import load_machines
from kumofire_fsm.errors import DefinitionError, InvalidArgument
from kumofire_fsm.flows.lint import lint
from kumofire_fsm.machines.finding import Finding, Severity

__all__ = ["findings_json", "found_in", "is_refused", "readable"]


def found_in(target: str) -> Sequence[Finding]:
    """Return what lint says; a module that cannot be imported is itself a finding."""
    try:
        machines = load_machines(target)
    except InvalidArgument:
        raise
    except DefinitionError as exc:
        broken = exc.findings or [_refusal(target, str(exc))]
        return [dataclasses.replace(each, source=_place(exc)) for each in broken]
    except Exception as exc:
        text = f"{type(exc).__name__}: {exc}"
        found = _refusal(target, text) if _declaring(exc) else _not_imported(target, text)
        return [dataclasses.replace(found, source=_place(exc))]
    return [finding for each in machines for finding in lint(each)]


def _refusal(target: str, text: str) -> Finding:
    """Return a finding for a class that raised something while it was created."""
    return Finding("definition", Severity.ERROR, target, text, "mend the declaration at this line")


def _not_imported(target: str, text: str) -> Finding:
    """Return a finding for a module whose own code raised something, outside of any class."""
    mend = "mend the module; what only a script is to do belongs under if __name__ == '__main__':"
    return Finding("import", Severity.ERROR, target, f"importing the module failed: {text}", mend)


def _declaring(exc: Exception) -> bool:
    """Return whether it was raised in a class's body, or by the making of a lifecycle."""
    made_in = Path(machines_package.__file__).parent
    for frame, _ in traceback.walk_tb(exc.__traceback__):
        code = frame.f_code
        body = not code.co_flags & inspect.CO_OPTIMIZED and code.co_name != "<module>"
        if body or Path(code.co_filename).parent == made_in:
            return True
    return False


def _place(exc: Exception) -> str | None:
    """Return the file and line that the innermost code outside of libraries was at."""
    installed = (sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    libraries = {Path(kumofire_fsm.__file__).parent, *map(Path, installed)}
    outside = [
        frame
        for frame in traceback.extract_tb(exc.__traceback__)
        if (path := Path(frame.filename)).exists() and libraries.isdisjoint(path.parents)
    ]
    return f"{outside[-1].filename}:{outside[-1].lineno}" if outside else None


def readable(target: str, found: Sequence[Finding]) -> str:
    """Return the findings as lines for people."""
    if not found:
        return f"{target}: nothing to mend"
    lines = []
    for each in found:
        lines.append(f"{each.severity} {each.rule}: {each.machine}: {each.what}")
        lines += [f"  at {each.source}"] if each.source else []
        lines.append(f"  {each.mend}")
    count = Counter(each.severity for each in found)
    lines.append(", ".join(f"{count[each]} {each}{'s' * (count[each] != 1)}" for each in Severity))
    return "\n".join(lines)


def findings_json(found: Sequence[Finding]) -> str:
    """Return the findings as a JSON list."""
    return json.dumps([dataclasses.asdict(finding) for finding in found], indent=2, ensure_ascii=False)


def is_refused(found: Sequence[Finding], *, strict: bool) -> bool:
    """Return whether there is an error among them, or with ``strict`` anything."""
    severities = {finding.severity for finding in found}
    return Severity.ERROR in severities or (strict and bool(severities))
