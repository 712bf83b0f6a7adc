"""Lifecycles: the two built-in machines, and the words to declare others."""

from kumofire_fsm.machines.job import JobMachine
from kumofire_fsm.machines.lifecycle import Lifecycle
from kumofire_fsm.machines.run import HANDED_BACK, RunMachine
from kumofire_fsm.machines.spec import Actor, EdgeSpec, EventSpec, MachineSpec, Outcome, Role, StateSpec
from kumofire_fsm.machines.words import Deadline, Edge, Event, State

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
