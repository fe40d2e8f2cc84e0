"""A stream with every kind of stage that takes a while; what it returns is printed."""

import sys
import time
from pathlib import Path

from pypelinin.streams import Multiple, Work


def build(path: str | Path, pause_s: float) -> Work:
    work = Work(range(60), checkpointFile=path, checkpointInterval=0.02)

    @work.init
    def more() -> Multiple:
        return Multiple([1000, 1001])

    @work.job
    def slow(item: int) -> int:
        time.sleep(pause_s)
        return item + 1

    @work.frame(store=list, emit=sum)
    def down(store: list[int], first: int) -> Multiple | None:
        if not store:
            return Multiple([first, first % 7, first % 3])
        return None

    @work.job
    def step(item: int) -> int:
        time.sleep(pause_s / 4)
        return item * 2

    @work.frameEnd
    def taken(store: list[int], item: int) -> int | None:
        store.append(item)
        return item // 8 if item % 4 == 0 and item > 8 else None

    @work.reduce(store=lambda: [0, 0], emit=lambda store: Multiple([*range(5), *store]))
    def total(store: list[int], works: list[int], others: list[list[int]]) -> None:
        for item in works:
            store[0] += item
            store[1] += 1
        for other in others:
            store[0] += other[0]
            store[1] += other[1]

    @work.job
    def last(item: int) -> int:
        time.sleep(pause_s)
        return item

    return work


if __name__ == "__main__":
    print(sorted(build(sys.argv[1], float(sys.argv[2])).run()))
