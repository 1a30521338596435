"""What of the documentation is written while it is built, from what the packages say themselves.

Formats, commands and the types of parameters are thus never stale.
"""
