"""The home on an SQLite file: opening it, a worker in the process, its upkeep, and the API without a loop.

`app` imports it. Begin with `opening`, then `_pool`.
"""
