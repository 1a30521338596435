"""COCO datasets: a JSON file with shapes, which are drawn as masks."""
