"""One shard: which samples are in it, how they get there, and what is recorded of it."""
