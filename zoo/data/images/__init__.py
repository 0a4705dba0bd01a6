"""From the bytes of a file to RGB pixels of the network's size."""
