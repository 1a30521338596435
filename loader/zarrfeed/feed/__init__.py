"""Batches made ahead: threads, processes and the memory they share."""
