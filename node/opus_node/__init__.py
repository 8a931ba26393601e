"""The node: the overlay as a pure core, and the process that runs it on a real network."""
