"""Lifecycles: the two built-in machines, what others are declared with, and what derives from them all.

Every room above imports it; it does no I/O, and imports `values` and `errors` alone. Begin with `run`,
then `spec` and `lifecycle`.
"""

from kumofire_fsm.machines._declarations import Deadline, Edge, Event, State
from kumofire_fsm.machines.job import JobMachine
from kumofire_fsm.machines.lifecycle import Lifecycle
from kumofire_fsm.machines.run import HANDED_BACK, RunMachine
from kumofire_fsm.machines.spec import Actor, EdgeSpec, EventSpec, MachineSpec, Outcome, Role, StateSpec

__all__ = [
    "HANDED_BACK",
    "Actor",
    "Deadline",
    "Edge",
    "EdgeSpec",
    "Event",
    "EventSpec",
    "JobMachine",
    "Lifecycle",
    "MachineSpec",
    "Outcome",
    "Role",
    "RunMachine",
    "State",
    "StateSpec",
]
