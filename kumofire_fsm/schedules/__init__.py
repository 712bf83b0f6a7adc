"""What clients ask of schedules (recurring jobs), and how their occurrences become runs.

`jobs` and the workers import it. Begin with `client`, then `occurrences`.
"""
