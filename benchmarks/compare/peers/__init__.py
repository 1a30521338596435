"""One short file for each way of feeding: see :mod:`compare.peer`."""
