"""The command line: commands, terminal output, lists and descriptions."""
