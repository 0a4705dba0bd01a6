"""Searches for the best values of options: what is searched, the study that is shared, and the trials."""
