"""Datasets that a COCO file describes: shapes that are drawn as masks."""
