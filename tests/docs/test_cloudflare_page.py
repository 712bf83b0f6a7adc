"""The page on Cloudflare: what it shows to TypeScript is what Python takes and gives."""

from __future__ import annotations

import re
from dataclasses import fields

from pages import page

from kumofire_fsm import Created, RunStatus
from kumofire_fsm.models import CreateOptions

PAGE = page("cloudflare.md")


def members(interface: str) -> list[str]:
    (body,) = re.findall(rf"^interface {interface} {{\n(.*?)^}}", PAGE, re.DOTALL | re.MULTILINE)
    return re.findall(r"^  (\w+)\??:", body, re.MULTILINE)


def test_the_types_of_a_service_binding_are_those_of_the_api() -> None:
    assert members("Options") == list(CreateOptions.__annotations__)
    assert members("Created") == [each.name for each in fields(Created)]
    assert set(members("Run")) < {each.name for each in fields(RunStatus)}
