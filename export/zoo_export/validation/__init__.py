"""Compares an exported file with its run, and decides whether lower precision pays off."""
