"""Child processes that read input files, and the processes that watch them."""
