"""Every SQL statement of the package: what moves rows is compiled from the machines, the rest is written out.

The rooms from `engine` upwards import it; it imports the machines, and never an adapter. Begin with `runs`,
which names each statement, then `moves` and `_compiler`.
"""
