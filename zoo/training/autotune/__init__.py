"""Measures what only the machine can tell: the fastest precision, the largest batch."""
