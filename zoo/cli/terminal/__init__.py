"""Terminal output: numbers, tables, progress."""
