"""One daemon as users start it: `python -m benchmarks.daemon ROLE ARGUMENTS`, ARGUMENTS in JSON.

Ends with its standard input, so nothing stays behind whatever ends the benchmark.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from pypelinin import Broker, Pipeliner, Router

ROLES: dict[str, Callable[..., Any]] = {"router": Router, "pipeliner": Pipeliner, "broker": Broker}


def end_with_standard_input() -> None:
    while os.read(0, 4096):  # not sys.stdin: its lock would hold up an orderly end
        pass
    os._exit(1)


def main(role: str, arguments: str) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    threading.Thread(target=end_with_standard_input, daemon=True).start()
    ROLES[role](**json.loads(arguments)).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
