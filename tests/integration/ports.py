"""Ports for daemons that are told where to listen, or come back to where they were."""

from __future__ import annotations

import random
import socket
from pathlib import Path

LOWEST = 10_000
GIVEN_AWAY = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_ports(count: int) -> list[int]:
    """TCP ports that nobody listens at, below those that the kernel gives to whoever asks for any.

    One of these others is soon somebody else's: while its daemon starts, or is away.
    """
    end = int(GIVEN_AWAY.read_text().split()[0])
    candidates = range(LOWEST, max(end, 2 * LOWEST))
    found: list[int] = []
    for port in random.sample(candidates, len(candidates)):
        if len(found) == count:
            break
        if is_free(port):
            found.append(port)
    return found


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
