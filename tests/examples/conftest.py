"""Loads the examples afresh, on the test's own time and randomness."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from harness import Kit

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def load(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleType]:
    """Returns an example as a module whose application takes the kit's clock."""

    def load(name: str, folder: str = "lifecycles") -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / folder / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        module.app._clock, module.app._entropy = kit.clock, kit.entropy
        return module

    return load
