"""Calling handlers, the same for every home: dispatch, claim, one attempt, settle.

The homes (`embedded`, `cloudflare`) import it. Begin with `consumer`, then `batch`, `attempt` and `settle`.
"""
