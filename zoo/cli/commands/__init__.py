"""The commands, one module each, imported when the command runs: parse, call one library function, print."""

from __future__ import annotations
