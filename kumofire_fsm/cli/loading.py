"""Finds the application that a command names as ``module:attribute``."""

from __future__ import annotations

import importlib
import sys

from kumofire_fsm.app import Kumofire
from kumofire_fsm.errors import InvalidArgument

__all__ = ["load_app"]


def load_app(where: str) -> Kumofire:
    """Return the `Kumofire` object at ``module:attribute``; the current folder is searched first.

    Raises:
        InvalidArgument: there is none; the text says what was found instead.
    """
    module_name, colon, attribute = where.partition(":")
    if not (module_name and colon and attribute) or module_name.endswith(".py"):
        raise InvalidArgument(f"{where!r} must be MODULE:APP, such as shop.jobs:app (without .py)")
    sys.path.insert(0, "")
    try:
        module = importlib.import_module(module_name)
    except ImportError as exc:
        raise InvalidArgument(f"{module_name!r} cannot be imported: {exc}") from exc
    if not hasattr(module, attribute):
        apps = [name for name, value in vars(module).items() if isinstance(value, Kumofire)]
        hint = f"; it has {', '.join(apps)}" if apps else ""
        raise InvalidArgument(f"the module {module_name!r} has no {attribute!r}{hint}")
    found = getattr(module, attribute)
    if not isinstance(found, Kumofire):
        raise InvalidArgument(f"{where!r} is {found!r:.100}, and not a Kumofire object")
    return found
