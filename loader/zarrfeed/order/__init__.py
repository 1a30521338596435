"""What to read: pure functions of (seed, epoch, batch)."""
