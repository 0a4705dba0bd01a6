"""What plugins hand over, and how they are found, checked and kept apart."""
