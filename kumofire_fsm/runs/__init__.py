"""What clients ask of runs: create, look, wait, cancel, redrive, reschedule, prune.

`jobs` joins it with the schedules into the API. Begin with `client`, whose `create` leads to
`creation` and `storing`.
"""
