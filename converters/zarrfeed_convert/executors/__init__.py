"""Executors, which run the tasks of a conversion: in this process, in others, or on Dask."""
