"""Calling handlers, the same for every home: dispatch, claim, one attempt, settle.

The homes (`embedded`, `cloudflare`) and the hooks import it. Begin with `consumer`, then `batch`, `attempt`
and `settle`.
"""
