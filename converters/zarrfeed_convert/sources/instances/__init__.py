"""Instances: shapes of objects, drawn as masks of class ids or of numbers."""
