"""Values and their limits: times, JSON text, ids, messages, and checks of arguments.

Every room may import it; it imports the errors and ports alone. Begin with `limits`.
"""
