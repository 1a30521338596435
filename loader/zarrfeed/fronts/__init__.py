"""What frameworks take: one outside world per module."""
