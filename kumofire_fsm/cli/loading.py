"""Finds the application or lifecycle that a command names as ``module:attribute``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

from kumofire_fsm.app import Kumofire
from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.machines import JobMachine, Lifecycle, MachineSpec, RunMachine

__all__ = ["load_app", "load_machine"]


def load_app(where: str) -> Kumofire:
    """Return the `Kumofire` object at ``module:attribute``; the current folder is searched first.

    Raises:
        InvalidArgument: there is none; the text says what was found instead.
    """
    app: Kumofire = _load(
        where,
        "MODULE:APP, such as shop.jobs:app",
        "a Kumofire object",
        lambda value: isinstance(value, Kumofire),
    )
    return app


def load_machine(where: str) -> type[Lifecycle]:
    """Return a built-in lifecycle by its class's name, or the one at ``module:Class``.

    Raises:
        InvalidArgument: there is none; the text says what was found instead.
    """
    built_in = {machine.__name__: machine for machine in (RunMachine, JobMachine)}
    if where in built_in:
        return built_in[where]
    form = f"{' or '.join(built_in)} or MODULE:CLASS, such as shop.lifecycles:ApprovedRun"
    machine: type[Lifecycle] = _load(where, form, "a lifecycle", _is_machine)
    return machine


def _is_machine(value: Any) -> bool:
    return isinstance(getattr(value, "spec", None), MachineSpec) and isinstance(value, type)


def _load(where: str, form: str, kind: str, fits: Callable[[Any], bool]) -> Any:
    module_name, colon, attribute = where.partition(":")
    if not (module_name and colon and attribute) or module_name.endswith(".py"):
        raise InvalidArgument(f"{where!r} must be {form} (without .py)")
    sys.path.insert(0, "")
    try:
        module = importlib.import_module(module_name)
    except ImportError as exc:
        raise InvalidArgument(f"{module_name!r} cannot be imported: {exc}") from exc
    if not hasattr(module, attribute):
        fitting = [name for name, value in vars(module).items() if fits(value)]
        hint = f"; it has {', '.join(fitting)}" if fitting else ""
        raise InvalidArgument(f"the module {module_name!r} has no {attribute!r}{hint}")
    found = getattr(module, attribute)
    if not fits(found):
        raise InvalidArgument(f"{where!r} is {found!r:.100}, and not {kind}")
    return found
