"""One short module per way of feeding; see :mod:`compare.peer`."""
