"""A Worker's class is refused when it is made, and not at its first event; without a Workers runtime."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

from kumofire_fsm import InvalidArgument, Kumofire

FOREIGN: dict[str, dict[str, Any]] = {
    "js": {},
    "pyodide": {},
    "pyodide.ffi": {"create_once_callable": None, "to_js": None, "JsProxy": type("JsProxy", (), {})},
    "workers": {"WorkerEntrypoint": type("WorkerEntrypoint", (), {})},
}


@pytest.fixture
def cloudflare(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Give the package of Workers, with the least of what it imports there."""
    for name, names in FOREIGN.items():
        module = types.ModuleType(name)
        vars(module).update(names)
        monkeypatch.setitem(sys.modules, name, module)
    import kumofire_fsm.cloudflare as package
    from kumofire_fsm.cloudflare import _calls

    yield types.SimpleNamespace(KumofireWorker=package.KumofireWorker, options=_calls._options)
    for name in [each for each in sys.modules if each.startswith("kumofire_fsm.cloudflare")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_statements": 0}, "max_statements must be an integer from 1 to 1000000; found 0"),
        ({"max_statements": -5}, "max_statements must be an integer"),
        ({"max_statements": "900"}, "max_statements must be an integer"),
        ({"max_statements": 1.5}, "max_statements must be an integer"),
        ({"max_statements": True}, "max_statements must be an integer"),
        ({"db": 5}, "db must be a text"),
        ({"queue": None}, "queue must be a text"),
        ({"queue": ""}, "queue must be a text"),
        ({"app": 3}, "app must be a Kumofire; found 3"),
        ({"timing": 3}, "timing must be a Timing; found 3"),
    ],
    ids=str,
)
def test_an_option_that_no_worker_can_have_is_refused_when_the_class_is_made(
    cloudflare: Any, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidArgument, match=said):
        types.new_class("Default", (cloudflare.KumofireWorker,), {"app": Kumofire(), **options})


def test_without_a_number_of_statements_it_is_that_of_the_free_plan(cloudflare: Any) -> None:
    made = types.new_class("Default", (cloudflare.KumofireWorker,), {"app": Kumofire()})
    paid = types.new_class(
        "Default", (cloudflare.KumofireWorker,), {"app": Kumofire(), "max_statements": 900}
    )
    assert (made.max_statements, paid.max_statements) == (45, 900)


def test_an_option_of_a_call_whose_name_is_no_text_is_refused(cloudflare: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"^create has no option 1; it has by, note$"):
        cloudflare.options("create", {1: 2}, frozenset({"by", "note"}))
