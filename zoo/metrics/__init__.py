"""Metrics of a classifier's predictions, and their confidence intervals."""
