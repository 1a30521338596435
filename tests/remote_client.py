"""Train on a remote store: one line of JSON says how, one line per batch says its hash."""

from __future__ import annotations

import json
import sys

from remote_stores import digest
from zarrfeed import ZarrSequence


def main() -> None:
    asked = json.loads(sys.stdin.readline())
    url, epochs = asked.pop("url"), asked.pop("epochs")
    with ZarrSequence(url, **asked) as seq:
        for _ in range(epochs):
            for batch in seq:
                print(digest(batch), flush=True)


if __name__ == "__main__":
    main()
