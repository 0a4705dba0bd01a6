"""The commands, one module each: parse, call the library, print. Imported when the command runs."""

from __future__ import annotations
