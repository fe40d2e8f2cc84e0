"""Names that never repeat: run ids, incarnations and fences.

Randomness is an argument (`Entropy`), so machines stay deterministic.
"""

from __future__ import annotations

from collections.abc import Callable

Entropy = Callable[[int], bytes]
"""Returns that many random bytes, like `os.urandom`."""

ATTEMPT_BITS = 40


def new_id(entropy: Entropy) -> str:
    """128 random bits as 32 hexadecimal digits: a run id or an incarnation."""
    return entropy(16).hex()


def make_fence(epoch: int, attempt: int) -> int:
    """(epoch, attempt) as one integer that rises with both."""
    return (epoch << ATTEMPT_BITS) | attempt


def fence_epoch(fence: int) -> int:
    return fence >> ATTEMPT_BITS


def fence_attempt(fence: int) -> int:
    return fence & ((1 << ATTEMPT_BITS) - 1)
