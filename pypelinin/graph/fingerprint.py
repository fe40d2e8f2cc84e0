"""Digests: of definitions, and the tagged ones that say whether a value is still the same."""

from __future__ import annotations

import hashlib

DIGEST_BYTES = 16

Tags = tuple[tuple[str, bytes], ...]
"""Digests of one value under several views, (view, digest), the most specific view first."""

Fingerprint = tuple[Tags, ...]
"""The tags of each output of a job, in the order in which the job declares them."""


def digest(*parts: bytes) -> bytes:
    """BLAKE2b over *parts* and their lengths (so that cuts count), 16 bytes."""
    state = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return state.digest()


def same(old: Tags, new: Tags) -> bool:
    """Whether two values count as equal: the first view that both have decides.

    Values without a common view are different. Not transitive: two versions of Python may
    each agree with a third view and not share one.
    """
    if old == new:
        return True
    now = dict(new)
    for view, value in old:
        if view in now:
            return now[view] == value
    return False


def canonical(tags: Tags) -> bytes:
    """The one digest a key is made of: the least specific view, as the others come and go."""
    return tags[-1][1] if tags else b""
