"""Settings that are measured on the machine: the fastest precision and the largest batch size."""
