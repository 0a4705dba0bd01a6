"""Shows events and results on terminals, in notebooks and in log files."""
