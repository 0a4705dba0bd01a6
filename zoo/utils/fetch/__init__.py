"""Fetches files from servers that it does not trust: downloads with resume and checksums, ZIP archives."""
