"""Keeps exported files secret, and proves who made them."""
