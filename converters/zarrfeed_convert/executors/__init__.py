"""Who does the work of a conversion: this process, others, or a Dask cluster."""
