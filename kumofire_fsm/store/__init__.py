"""Every SQL statement of the package, and the schema's versions."""
