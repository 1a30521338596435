"""One split: where it goes, how it is written in one run or several, and when it is seen."""
