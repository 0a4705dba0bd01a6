"""Files, paths, the machine and downloads: what knows nothing of machine learning."""
