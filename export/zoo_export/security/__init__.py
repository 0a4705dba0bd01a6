"""Encryption of files, and signatures of runs and files."""
