"""Flows under simulation: the same worlds and faults, with other applications, clients and invariants."""
