"""Processes that read foreign files, and those that see what becomes of them."""
