"""Ours, our peers' and the limits, on the same samples in one run."""
