"""Comparison of zarrfeed with peers and limits, on the same samples in one run."""
