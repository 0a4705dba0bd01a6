"""The stress test of a classifier: its accuracy on photos that are changed in known ways."""
