"""Sources: the dataset formats that can be packed, in one folder per family of formats."""
