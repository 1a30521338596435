"""Datasets that a program has in hand, or makes one by one."""
