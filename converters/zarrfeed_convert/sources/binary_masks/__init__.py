"""Masks in many files: one for each instance, or one for each class."""
