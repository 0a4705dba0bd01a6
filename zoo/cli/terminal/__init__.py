"""What a person sees on the terminal: numbers, tables, progress."""

from __future__ import annotations
