"""What a person sees on the terminal: numbers, tables, progress."""
