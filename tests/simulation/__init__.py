"""A deterministic simulator of the whole system: the real code and SQL over a world that fails on purpose."""
