"""The application: where jobs are registered, and bound to a database and a queue.

The command line, `cloudflare` and applications import it. Begin with `_kumofire`, then `_binder`.
"""

from kumofire_fsm.app._kumofire import Kumofire

__all__ = ["Kumofire"]
