"""Looks for wrong labels: which photos look like another class to probes that did not train on them."""
