"""Packed splits that become another one, without their sources."""
