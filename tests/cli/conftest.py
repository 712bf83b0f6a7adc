"""A folder in which commands find an application; what they import is forgotten after each test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from app_versions import Folder


@pytest.fixture(autouse=True)
def applications(tmp_path: Path) -> Iterator[None]:
    """Forget the applications that a test imported: the next one has others of the same names."""
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(f"{tmp_path}/"):
            del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path)
    yield made
    made.forget()
