"""Brings files from elsewhere, and trusts none of them: downloads with resume and checksums, archives."""

from __future__ import annotations
