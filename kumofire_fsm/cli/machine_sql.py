"""``kumofire machine sql``: the statements derived from a lifecycle or flow, as a database gets them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kumofire_fsm.cli.echo import echo

if TYPE_CHECKING:
    from kumofire_fsm.app import Kumofire
    from kumofire_fsm.cli.loading import Declared
    from kumofire_fsm.machines import MachineSpec

__all__ = ["machine_sql_command"]


def machine_sql_command(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="RunMachine, JobMachine, MODULE:CLASS, or MODULE:APP for all that it sends.",
        ),
    ],
    event: Annotated[
        str | None, typer.Argument(metavar="[EVENT]", help="Only what fires this event.")
    ] = None,
) -> None:
    """Print the statements of a lifecycle or flow, each under a sentence: what it does, and who sends it."""
    from kumofire_fsm.cli.loading import load_target
    from kumofire_fsm.store.catalogue import catalogue, entries_of

    entries = catalogue(_specs(load_target(target)))
    shown = entries if event is None else entries_of(entries, event)
    echo("\n\n".join(f"-- {entry.name}: {entry.says}\n{entry.sql};" for entry in shown))


def _specs(target: Kumofire | Declared) -> list[MachineSpec]:
    """Return the machines whose rows a statement moves; an application moves those of all in one."""
    from kumofire_fsm.app import Kumofire
    from kumofire_fsm.flows import FlowSpec
    from kumofire_fsm.flows.instance import machine_of
    from kumofire_fsm.machines import JobMachine, RunMachine

    if not isinstance(target, Kumofire):
        return [machine_of(target.spec) if isinstance(target.spec, FlowSpec) else target.spec]
    found = [RunMachine.spec, *target.registry.machines(), JobMachine.spec]
    return list({spec.name: spec for spec in found}.values())
