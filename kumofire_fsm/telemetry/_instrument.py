"""The door: turns telemetry on for an application."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from kumofire_fsm.app import Kumofire
from kumofire_fsm.errors import DefinitionError, MissingPackage
from kumofire_fsm.telemetry._observer import Telemetry
from kumofire_fsm.values.printable import shown

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

__all__ = ["instrument"]


def instrument(
    app: Kumofire,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> None:
    """Have an application's spans and metrics told to OpenTelemetry; before it is opened or bound.

    OpenTelemetry is imported when there is something to tell, and not here: Workers refuse the randomness
    that it asks for at import.

    Args:
        app: the application; it is instrumented once.
        tracer_provider, meter_provider: None for those that OpenTelemetry has by then.

    Raises:
        MissingPackage: OpenTelemetry is not installed.
        DefinitionError: it is no application, was opened or bound before, or is instrumented already.
    """
    given: object = app
    if not isinstance(given, Kumofire):
        raise DefinitionError(f"instrument() takes the application, a Kumofire; found {shown(given)}")
    if find_spec("opentelemetry") is None:
        raise MissingPackage(
            "telemetry needs OpenTelemetry, which is not installed: pip install 'kumofire_fsm[otel]'"
        )
    if app.registry.observer.watches:
        raise DefinitionError("the application is instrumented already; call instrument(app) once")
    if app._statements is not None:
        raise DefinitionError("the application was opened or bound before; call instrument(app) first")
    app.registry.observer = Telemetry(app.registry.name_of, tracer_provider, meter_provider)
