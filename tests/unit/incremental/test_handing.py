"""What goes to hands and comes back."""

from __future__ import annotations

from pypelinin.incremental.enums import Resources
from pypelinin.incremental.handing import Ended, HandOut


def test_what_is_handed_out_reads_nothing_and_shares_its_slot_unless_it_says_so() -> None:
    assert HandOut(1, Resources.SingleCore) == (1, Resources.SingleCore, (), False)


def test_what_ended_has_a_value_or_an_error() -> None:
    assert Ended(1, "value", None).error is None
    assert Ended(1, None, ValueError()).value is None
