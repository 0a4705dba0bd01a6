"""From the bytes of an image file to RGB pixels of the size that a network expects."""
