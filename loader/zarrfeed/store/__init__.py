"""The layout of stores on disk, and readers that fill given arrays."""
