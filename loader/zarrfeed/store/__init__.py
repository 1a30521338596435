"""What is on disk, and one verb: read into given arrays."""
