"""A copy of a split between folders and object stores, verified, in one run or several."""
