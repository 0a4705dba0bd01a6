"""Activations of frozen stages, computed once and cached."""
