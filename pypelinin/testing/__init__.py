"""Fakes that are shipped: a simulated cluster, a lossy network, playbooks for machines.

`python -m pypelinin.testing.sim --seeds 1000` simulates by hand.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pypelinin.testing.bugs import planted
    from pypelinin.testing.history import Violation
    from pypelinin.testing.network import LossyNetwork
    from pypelinin.testing.playbook import Playbook
    from pypelinin.testing.sim import ClusterSim, SimResult

_PLACES = {
    "ClusterSim": "sim",
    "LossyNetwork": "network",
    "Playbook": "playbook",
    "SimResult": "sim",
    "Violation": "history",
    "planted": "bugs",
}


def __getattr__(name: str) -> object:
    """Import what is asked for, so that one of the modules can also be run by `-m`."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


__all__ = ["ClusterSim", "LossyNetwork", "Playbook", "SimResult", "Violation", "planted"]
