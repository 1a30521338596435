"""Whether a dataset is still what was packed."""
