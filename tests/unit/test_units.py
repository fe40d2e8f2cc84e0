"""Sizes and times as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypelinin.units import format_bytes, parse_bytes, parse_seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("17", 17), ("2GB", 2 * 10**9), ("2 GiB", 2 * 2**30), ("1.5g", 1_500_000_000),
        ("512 MB", 512_000_000), ("3kB", 3000), ("1Ti", 2**40), (12, 12), ("7 b", 7),
    ],
)  # fmt: skip
def test_sizes(text: int | str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "2 GBs", "-1", "1e9", "two", "5 i", 1.5, None, True])
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(ValueError, match="is no size"):
        parse_bytes(text)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90.0), ("1.5h", 5400.0), ("10 min", 600.0), ("200ms", 0.2), (3, 3.0), ("2d", 172800.0)],
)
def test_times(text: float | str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "1 year", None, True])
def test_what_is_no_time(text: object) -> None:
    with pytest.raises(ValueError, match="is no time"):
        parse_seconds(text)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (999_999, "1.00 MB"),
        (12_345_678, "12.3 MB"),
        (16 * 10**9, "16.0 GB"), (5 * 10**15, "5000 TB"),
    ],
)  # fmt: skip
def test_sizes_for_people(size: int, text: str) -> None:
    assert format_bytes(size) == text


@given(st.integers(0, 2**60))
def test_what_is_shown_reads_as_nearly_the_same(size: int) -> None:
    assert abs(parse_bytes(format_bytes(size)) - size) <= max(1, size * 0.006)
