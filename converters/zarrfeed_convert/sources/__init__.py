"""Where datasets come from: one module per format, each with a ``zarrfeed_convert.Source``."""
