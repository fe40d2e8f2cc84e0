"""One daemon of a test's cluster: `python daemon.py ROLE OPTIONS`, OPTIONS being JSON.

A Router writes its addresses to `OPTIONS["ready"]` once it serves.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pypelinin
from pypelinin.cli.serve import start
from pypelinin.config import Limits
from pypelinin.errors import PypelininError


def router(options: dict[str, Any], limits: Limits) -> Any:
    host, api, broadcast = options["host"], options["api_port"], options["broadcast_port"]
    daemon = pypelinin.Router((host, api), (host, broadcast), options["config"], limits=limits)

    def tell() -> None:
        daemon.started.wait()
        ready = Path(options["ready"])
        new = ready.with_suffix(".new")
        new.write_text(json.dumps({"api": daemon.api, "broadcast": daemon.broadcast}))
        os.replace(new, ready)

    threading.Thread(target=tell, daemon=True).start()
    return daemon


def pipeliner(options: dict[str, Any], limits: Limits) -> Any:
    return pypelinin.Pipeliner(options["api"], limits=limits, access=options.get("access", ""))


def broker(options: dict[str, Any], limits: Limits) -> Any:
    return pypelinin.Broker(
        options["api"], None, options["store"], options["workers"], None, options["slots"],
        name=options["name"], labels=options["labels"], limits=limits,
        access=options.get("access", ""),
    )  # fmt: skip


def main(role: str, text: str) -> None:
    options = json.loads(text)
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(message)s")
    make = {"router": router, "pipeliner": pipeliner, "broker": broker}[role]
    try:
        start(make(options, Limits(**options["limits"])))
    except PypelininError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
