"""``kumofire demo``: real jobs on real files, with a worker process killed half-way."""

from kumofire_fsm.cli.demo.show import show_demo

__all__ = ["show_demo"]
