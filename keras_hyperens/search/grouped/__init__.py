"""Training of candidates with the same structure as the members of one graph."""
