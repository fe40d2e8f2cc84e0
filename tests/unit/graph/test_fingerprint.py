"""Equal parts give equal digests, and every byte and every cut counts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pypelinin.graph.fingerprint import DIGEST_BYTES, digest

PARTS = st.lists(st.binary(max_size=8), max_size=5)


@given(PARTS, PARTS)
def test_digests_are_equal_exactly_if_the_parts_are(one: list[bytes], other: list[bytes]) -> None:
    assert (digest(*one) == digest(*other)) == (one == other)


def test_where_the_parts_are_cut_counts() -> None:
    assert len({digest(b"ab", b""), digest(b"a", b"b"), digest(b"", b"ab"), digest(b"ab")}) == 4


def test_the_digest_is_the_same_in_every_version() -> None:
    assert len(digest()) == DIGEST_BYTES
    assert digest(b"a", b"bc").hex() == "f657d58ed59382298356d21c95353a31"
