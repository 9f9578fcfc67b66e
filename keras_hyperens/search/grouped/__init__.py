"""Candidates of one structure, trained as the members of one graph."""
