"""The part of the application in which flows are registered: handlers of their steps, and upgrades."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from kumofire_fsm.app._binder import Binder
from kumofire_fsm.engine.flow_jobs import (
    Defaults,
    FlowJob,
    flow_job,
    flow_of,
    register_step,
    register_upgrade,
)
from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.flows.flow import Flow
from kumofire_fsm.flows.steps import Task
from kumofire_fsm.retry import RetryPolicy
from kumofire_fsm.values.printable import shown
from kumofire_fsm.values.times import duration_ms

__all__ = ["Flows"]

Handler = TypeVar("Handler", bound=Callable[..., Any])


class Flows(Binder):
    """Registers flows."""

    _max_attempts: int
    _timeout: timedelta | float
    _retry: RetryPolicy

    def flow(self, flow: type[Flow[Any]]) -> FlowJob:
        """Register a flow; one that has tasks is registered by `step` as well.

        Raises:
            DefinitionError: it is no flow, or its name is taken.
        """
        spec = flow_of(flow)
        if spec is None:
            raise DefinitionError(f"give a class derived from Flow[Data]; found {shown(flow)}")
        found = self.registry.jobs.get(spec.name)
        if found is None:
            found = flow_job(spec, self._defaults())
            self.registry.add(found)
        if not isinstance(found, FlowJob) or found.flow is not spec:
            raise DefinitionError(f"a job or another flow is called {spec.name!r} already; names are unique")
        return found

    def step(self, task: Task) -> Callable[[Handler], Handler]:
        """Register the decorated function as the handler of a flow's task.

        The handler is ``handler(ctx, data)``, async or plain; it returns the flow's data from then on, or
        None to leave it as it is. ``ctx`` is a `StepContext`, or a `PlainStepContext`.

        Args:
            task: the task, such as ``Order.charge``.

        Raises:
            DefinitionError: it is no task of a flow, or has a handler already.
        """
        return self._register_step(task, undo=False)

    def undo(self, task: Task) -> Callable[[Handler], Handler]:
        """Register the decorated function as what undoes a flow's task; see `step`."""
        return self._register_step(task, undo=True)

    def upgrade(self, flow: type[Flow[Any]], *, from_version: int) -> Callable[[Handler], Handler]:
        """Register the decorated function, which gives the data of the next version of a flow.

        It is ``upgrade(data) -> data``: a dict as JSON gives it, and a dict or the flow's model.

        Args:
            flow: the flow, in its version of today.
            from_version: the version whose data it takes, from 1 to the one before today's.

        Raises:
            DefinitionError: there is no such version before, or it has an upgrade already; or the function is
                async, a generator, or cannot be called with one argument.
        """
        job = self.flow(flow)
        given: object = from_version
        if not isinstance(given, int) or isinstance(given, bool) or not 1 <= given < job.flow.version:
            raise DefinitionError(
                f"{job.name!r} is at version {job.flow.version}: from_version is one before; "
                f"found {shown(given)}"
            )
        if from_version in job.upgrades:
            raise DefinitionError(f"{job.name!r} has an upgrade from version {from_version} already")

        def register(function: Handler) -> Handler:
            register_upgrade(job, from_version, function)
            return function

        return register

    def _register_step(self, task: Task, *, undo: bool) -> Callable[[Handler], Handler]:
        given: object = task
        if not isinstance(given, Task) or task.flow is None:
            raise DefinitionError(f"give a task of a flow, such as Order.charge; found {shown(task)}")

        def register(handler: Handler) -> Handler:
            register_step(self.flow(task.flow), task, handler, self._defaults(), undo=undo)
            return handler

        return register

    def _defaults(self) -> Defaults:
        return Defaults(self._max_attempts, duration_ms(self._timeout, "timeout", least=1), self._retry)
