"""Spans and metrics of an application's jobs, in OpenTelemetry; see docs/telemetry.md."""

from __future__ import annotations

from kumofire_fsm.telemetry._observer import instrument

__all__ = ["instrument"]
