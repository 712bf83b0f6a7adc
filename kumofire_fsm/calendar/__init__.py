"""When something fires next: pure arithmetic on instants, without a clock, a database or a machine.

`models`, the room of schedules and the command line import it. Begin with `rules`, then `recurrence` and
`decision`.
"""
