"""Datasets of volumes and images that a `dataset.json` describes."""
