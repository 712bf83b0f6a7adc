"""Loads the examples afresh, on the test's own time and randomness."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from harness import Kit

LIFECYCLES = Path(__file__).resolve().parents[2] / "examples" / "lifecycles"


@pytest.fixture
def load(kit: Kit) -> Callable[[str], ModuleType]:
    """Returns an example as a module whose application takes the kit's clock."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, LIFECYCLES / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.app._clock, module.app._entropy = kit.clock, kit.entropy
        return module

    return load
