"""A loopback that is as fast as a network: of a namespace of this process's own, shaped by `tc`.

All connections share its speed, as they share a network card. Limits of a server per connection or
per request do not show that: nginx's ``limit_rate`` begins anew with each request, a second ahead.
"""

from __future__ import annotations

import os
import subprocess
import sys

from web_server import installed

_INSIDE = "ZARRFEED_BENCHMARK_LINK"
_BURST = "256kb"  # more than the largest packet of the loopback, 64 KiB
_QUEUE = "4mb"  # 32 ms at 1 Gbit/s


def enter_namespace() -> None:
    """Start this program again in a network namespace of its own, unless that has been done.

    Raises
    ------
    SystemExit
        The programs that are needed are missing.
    """
    if os.environ.get(_INSIDE):
        return
    missing = [name for name in ("unshare", "ip", "tc") if installed(name) is None]
    if missing:
        raise SystemExit(f"--gbits needs {', '.join(missing)}: apt install util-linux iproute2")
    os.environ[_INSIDE] = "1"
    user = [] if os.geteuid() == 0 else ["--map-current-user", "--keep-caps"]
    os.execv(str(installed("unshare")), ["unshare", "--net", *user, sys.executable, *sys.argv])


def set_speed(gbits: float) -> None:
    """Set the speed of this namespace's loopback.

    Parameters
    ----------
    gbits
        In Gbit/s; 0 for no limit.
    """
    assert os.environ.get(_INSIDE), "the machine's own loopback is not touched"
    _call("ip", "link", "set", "lo", "up")
    _call("tc", "qdisc", "replace", "dev", "lo", "root", "noqueue")
    if gbits:
        _call(
            "tc", "qdisc", "replace", "dev", "lo", "root", "tbf",
            "rate", f"{gbits:g}gbit", "burst", _BURST, "limit", _QUEUE,
        )  # fmt: skip


def _call(*command: str) -> None:
    subprocess.run([str(installed(command[0])), *command[1:]], check=True)
