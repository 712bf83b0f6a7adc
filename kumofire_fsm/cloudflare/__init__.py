"""The home on Cloudflare Workers: the entrypoints that consume a queue and dispatch at each cron tick.

Applications import `KumofireWorker` from here, inside a Worker only. Begin with `_worker`.
"""

from kumofire_fsm.cloudflare._worker import KumofireWorker

__all__ = ["KumofireWorker"]
