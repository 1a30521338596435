"""What does ``python -m zarrfeed_tools`` do? The same as ``zarrfeed``."""

from zarrfeed_tools.cli import main

if __name__ == "__main__":
    main()
