"""The prime numbers up to a limit: a sieve that is as parallel as each of its turns allows.

    python primes.py [LIMIT] [--segments N] [--on tcp://HOST:5555]

A frame is a loop: with the primes up to n, all numbers up to n * n can be sieved. So each turn
cuts what lies between into segments, slots sieve them side by side, and the end of the frame
collects what they found. Four turns lead from 2 to 65,536, five to four thousand million.
"""

from __future__ import annotations

import argparse
from typing import Any

from pypelinin.streams.inline import Args, Multiple, Object, Work

LEAST = 10_000
"""Numbers that are worth a segment of their own."""


def segments(start: int, stop: int, count: int) -> list[range]:
    """The numbers from *start* up to *stop*, in at most *count* pieces."""
    size = max(LEAST, -(-(stop - start) // count))
    return [range(low, min(low + size, stop)) for low in range(start, stop, size)]


def sieve(numbers: range, primes: list[int]) -> list[int]:
    """The primes among *numbers*, which are below the square of the next one after *primes*."""
    start, count = numbers.start, len(numbers)
    is_prime = bytearray(b"\1") * count
    for prime in primes:
        first = max(prime * prime, -(-start // prime) * prime) - start
        if first < count:
            is_prime[first::prime] = bytes(len(range(first, count, prime)))
    return [start + place for place in range(count) if is_prime[place]]


def define(limit: int, pieces: int, **options: Any) -> Work:
    w = Work([limit], **options)

    @w.frame
    def grow(store: Object, limit: int) -> Multiple | None:
        if not hasattr(store, "found"):
            store.found, store.known = {2: [2]}, 2  # by the start of their segment
        primes = sorted(prime for found in store.found.values() for prime in found)
        if store.known >= limit:
            store.primes = primes
            return None
        start, stop = store.known + 1, min(limit, store.known**2) + 1
        store.known = stop - 1
        needed = [prime for prime in primes if prime * prime < stop]
        return Multiple([Args(piece, needed) for piece in segments(start, stop, pieces)])

    @w.job
    def search(numbers: range, primes: list[int]) -> tuple[int, list[int]]:
        return numbers.start, sieve(numbers, primes)

    @w.frameEnd
    def collect(store: Object, found: tuple[int, list[int]]) -> None:
        store.found[found[0]] = found[1]

    @w.result
    def show(store: Object) -> None:
        primes = store.primes
        print(f"{len(primes):,} primes up to {limit:,}, the last is {primes[-1]:,}")

    return w


def main() -> None:
    parser = argparse.ArgumentParser(description="Prime numbers, by a stream")
    parser.add_argument("limit", type=int, nargs="?", default=2_000_000)
    parser.add_argument("--segments", type=int, default=16)
    parser.add_argument("--on", help="the address of a Router; without it slots of this process")
    given = parser.parse_args()
    if given.limit < 2:
        parser.error("the first prime is 2")
    define(given.limit, given.segments, on=given.on).run()


if __name__ == "__main__":
    main()
