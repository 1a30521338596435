"""One split: where it is written, in one run or several, and how it becomes visible."""
