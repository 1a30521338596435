"""The ``zarrfeed`` command."""
