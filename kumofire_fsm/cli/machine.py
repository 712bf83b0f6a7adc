"""``kumofire machine``: checks a lifecycle, prints its statements, and migrates the instances of flows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from kumofire_fsm.cli.options import NOUN, AsJson
from kumofire_fsm.cli.place import Place, acting, looking, on_database
from kumofire_fsm.cli.terminal import echo
from kumofire_fsm.cli.texts import json_of

if TYPE_CHECKING:
    from kumofire_fsm.app import Kumofire
    from kumofire_fsm.cli.loading import Declared
    from kumofire_fsm.engine.flow_versions import FlowPlan
    from kumofire_fsm.jobs import Jobs
    from kumofire_fsm.machines import MachineSpec

__all__ = ["machine"]

machine = typer.Typer(name="machine", help="Check a lifecycle.", **NOUN)


@machine.callback()
def _group() -> None:
    """Check a lifecycle."""


@machine.command("lint")
def lint_command(
    target: Annotated[
        str,
        typer.Argument(metavar="MODULE:NAME", help="A lifecycle, a flow, or an application with all."),
    ],
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for warnings too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check a lifecycle or a flow, or those of an application: exit code 1 for errors, 0 for none."""
    from kumofire_fsm.cli.linting import findings_json, found_in, is_refused, readable

    found = found_in(target)
    echo(findings_json(found) if as_json else readable(target, found))
    raise typer.Exit(int(is_refused(found, strict=strict)))


@machine.command("sql")
def sql_command(
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


@machine.command("migrate")
@on_database()
def migrate_command(
    application: Annotated[str, typer.Argument(metavar="MODULE:APP", help="Where the Kumofire object is.")],
    where: Place,
    plan: Annotated[bool, typer.Option("--plan", help="Say what would be done; change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the instances of flows that rest to the versions of this code; exit code 1 where that is refused.

    Each is moved to the step of its name, or to the one that `was` names, with its data upgraded. What is
    under way is left: run it again. Register the edges first: `kumofire migrate`.
    """
    do = looking if plan else acting
    if do(where, application, lambda jobs: _migrated(jobs, plan=plan, as_json=as_json)):
        raise typer.Exit(1)


async def _migrated(jobs: Jobs, *, plan: bool, as_json: bool) -> bool:
    """Plan, print the plan, and do it unless something stands in the way; return whether it does."""
    plans = await jobs.plan_flows()
    for each in () if as_json else plans:
        echo(str(each))
    if not (plans or as_json):
        echo("the application has no flow")
    refused = any(each.refused for each in plans)
    moved = None if plan or refused else await jobs.migrate_flows()
    if as_json:
        echo(json_of({"flows": [_fields(each) for each in plans], "refused": refused, "moved": moved}))
    elif moved is not None:
        echo(f"moved {moved:,}")
    return refused


def _fields(plan: FlowPlan) -> dict[str, Any]:
    """Return what is planned for a flow; ``to`` is None where a step's instances have nowhere to go."""
    steps = [
        {"machine": machine, "step": step, "number": number, "to": to}
        for (machine, step), (number, to) in plan.steps.items()
    ]
    data = {"checked": plan.checked, "bad": plan.bad, "first_error": plan.first_error or None}
    told = {"flow": plan.job.flow.name, "version": plan.job.flow.version, "live": plan.live, "steps": steps}
    return {**told, "data": data, "lost_undo": plan.lost, "under_way": plan.left, "refused": plan.refused}
