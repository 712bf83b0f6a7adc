"""Finds the application or lifecycle that a command names as ``module:attribute``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

from kumofire_fsm.app import Kumofire
from kumofire_fsm.engine.flow_jobs import FlowJob
from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.flows import Flow, FlowSpec
from kumofire_fsm.machines import JobMachine, Lifecycle, MachineSpec, RunMachine

__all__ = ["Declared", "load_app", "load_machine", "load_machines", "load_target"]

Declared = type[Lifecycle | Flow[Any]]
"""What can be drawn: a lifecycle, or a flow."""
_BUILT_IN: Final[dict[str, type[Lifecycle]]] = {m.__name__: m for m in (RunMachine, JobMachine)}
_OF_WORKERS: Final = frozenset({"workers", "js"})
_IN_WORKERS_ONLY: Final = (
    "{!r} exists inside a Worker only, so put the application and its jobs into a module that does not "
    "import it, nor kumofire_fsm.cloudflare, and name that one"
)


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


def load_machine(where: str) -> Declared:
    """Return a built-in lifecycle by its class's name, or the lifecycle or flow at ``module:Class``.

    Raises:
        InvalidArgument: there is none; the text says what was found instead.
    """
    if where in _BUILT_IN:
        return _BUILT_IN[where]
    form = f"{' or '.join(_BUILT_IN)} or MODULE:CLASS, such as shop.lifecycles:ApprovedRun"
    machine: Declared = _load(where, form, "a lifecycle or a flow", lambda v: _is_machine(v) or _is_flow(v))
    return machine


def load_machines(where: str) -> list[Declared]:
    """Return the lifecycle or flow at ``module:Class``, or all of the application at ``module:app``.

    Raises:
        InvalidArgument: there is none of them; the text says what was found instead.
    """
    found = load_target(where)
    if not isinstance(found, Kumofire):
        return [found]
    flows = [job.flow for job in found.registry.jobs.values() if isinstance(job, FlowJob)]
    specs = {id(spec) for spec in (*found.registry.machines(), *flows)}
    # Jobs hold specs only, and lint looks at a class's methods too.
    declared = dict.fromkeys((*_declared(Lifecycle), *_declared(Flow)))
    return [each for each in declared if id(getattr(each, "spec", None)) in specs]


def load_target(where: str) -> Kumofire | Declared:
    """Return the lifecycle or flow at ``module:Class``, or the application at ``module:app``.

    Raises:
        InvalidArgument: there is none of them; the text says what was found instead.
    """
    if where in _BUILT_IN:
        return _BUILT_IN[where]
    form = f"{' or '.join(_BUILT_IN)} or MODULE:CLASS, such as shop.lifecycles:ApprovedRun, or MODULE:APP"
    found: Kumofire | Declared = _load(
        where,
        form,
        "a lifecycle, a flow or a Kumofire object",
        lambda value: isinstance(value, Kumofire) or _is_machine(value) or _is_flow(value),
    )
    return found


def _declared(base: Any) -> Iterator[Declared]:
    """Yield the lifecycles or flows that derive from a class, bases first."""
    for each in base.__subclasses__():
        yield each
        yield from _declared(each)


def _is_machine(value: Any) -> bool:
    return isinstance(getattr(value, "spec", None), MachineSpec) and isinstance(value, type)


def _is_flow(value: Any) -> bool:
    return isinstance(getattr(value, "spec", None), FlowSpec) and isinstance(value, type)


def _load(where: str, form: str, kind: str, fits: Callable[[Any], bool]) -> Any:
    module_name, colon, attribute = where.partition(":")
    relative = module_name.startswith(".")
    if not (module_name and colon and attribute) or relative or module_name.endswith(".py"):
        raise InvalidArgument(f"{where!r} must be {form} (without .py)")
    sys.path.insert(0, "")
    try:
        module = importlib.import_module(module_name)
    except ImportError as exc:
        hint = f"; {_IN_WORKERS_ONLY.format(exc.name)}" if exc.name in _OF_WORKERS else ""
        raise InvalidArgument(f"{module_name!r} cannot be imported: {exc}{hint}") from exc
    if not hasattr(module, attribute):
        fitting = [name for name, value in vars(module).items() if fits(value)]
        hint = f"; it has {', '.join(fitting)}" if fitting else ""
        raise InvalidArgument(f"the module {module_name!r} has no {attribute!r}{hint}")
    found = getattr(module, attribute)
    if not fits(found):
        raise InvalidArgument(f"{where!r} is {found!r:.100}, and not {kind}")
    return found
