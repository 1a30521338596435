"""Making batches ahead: threads, processes and the memory they share."""
