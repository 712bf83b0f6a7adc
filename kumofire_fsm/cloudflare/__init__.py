"""The home on Cloudflare Workers: the entrypoints that consume a queue and dispatch at each cron tick.

Applications import `KumofireWorker` from here, inside a Worker only. Begin with `worker`.
"""

from kumofire_fsm.cloudflare.worker import KumofireWorker

__all__ = ["KumofireWorker"]
