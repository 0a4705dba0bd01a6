"""Files, paths, signals, the machine and downloads: tools that know nothing of machine learning."""
