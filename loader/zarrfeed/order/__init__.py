"""Which samples to read: pure functions of (seed, epoch, batch)."""
