"""Flows: what a run does, step after step, declared as a state machine of its own.

A flow is pure declaration: its class imports no handler. Everything above `store` may import it; it imports
`machines` and below. Begin with `steps` and `flow`, then `spec` and `walk`.
"""

from kumofire_fsm.flows.flow import Flow
from kumofire_fsm.flows.spec import FlowSpec, Kind, StepEdge, StepSpec
from kumofire_fsm.flows.steps import End, Signal, Task, Wait

__all__ = ["End", "Flow", "FlowSpec", "Kind", "Signal", "StepEdge", "StepSpec", "Task", "Wait"]
