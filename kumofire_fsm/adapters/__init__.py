"""What connects the ports to a real database, queue, clock and source of entropy."""
