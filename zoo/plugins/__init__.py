"""Plugins: their contracts, hooks and options, and how they are found, loaded and looked up."""
