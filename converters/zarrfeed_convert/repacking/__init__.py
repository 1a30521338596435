"""Repacking: making a split from packed splits, without their sources."""
