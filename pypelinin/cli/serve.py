"""Daemons from settings, and how they log. *values* are plain: see `config.DEFAULTS`."""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from pypelinin.cli.addresses import listening
from pypelinin.config import Limits
from pypelinin.runtime.daemons import Pipeliner, Router
from pypelinin.runtime.node import Broker

Daemon = Router | Pipeliner | Broker
TEXT_FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"


class JSONFormatter(logging.Formatter):
    """One JSON document a line: time (UTC), level, name, message, traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        document = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "name": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            document["traceback"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=False)


def log_to_stderr(values: Mapping[str, Any]) -> None:
    handler = logging.StreamHandler(sys.stderr)
    as_json = values["log_format"] == "json"
    handler.setFormatter(JSONFormatter() if as_json else logging.Formatter(TEXT_FORMAT))
    logging.basicConfig(level=values["log_level"].upper(), handlers=[handler], force=True)


def daemon_of(role: str, values: Mapping[str, Any]) -> Daemon:
    """The daemon of *role*, not started yet. Raises DefinitionError."""
    makers: dict[str, Callable[[Mapping[str, Any]], Daemon]] = {
        "router": router, "pipeliner": pipeliner, "broker": broker,
    }  # fmt: skip
    return makers[role](values)


def start(daemon: Daemon) -> None:
    """Run *daemon* until it is stopped; a SIGTERM that comes before its loop runs counts too."""
    signal.signal(signal.SIGTERM, lambda *_: daemon.stop())
    daemon.start()


def router(values: Mapping[str, Any]) -> Router:
    config = {
        "store": values["store_configuration"],
        "monitoring interval": values["monitoring_interval"],
        "journal": values["journal"],
        "synchronous": values["synchronous"],
        "insecure": values["insecure"],
        "keys": values["keys"],
    }
    return Router(
        listening(values["api"], "api"),
        listening(values["broadcast"], "broadcast"),
        config,
        logging.getLogger("Router"),
        limits=Limits(logs_bytes_max=max(0, values["logs_bytes"])),
    )


def pipeliner(values: Mapping[str, Any]) -> Pipeliner:
    return Pipeliner(values["api"], logger=logging.getLogger("Pipeliner"), access=values["access"])


def resources(given: Mapping[str, Any]) -> dict[str, Any]:
    """Counts and lists of indices; the environment has only texts."""
    found = {}
    for name, value in given.items():
        try:
            found[name] = json.loads(value) if isinstance(value, str) else value
        except ValueError:
            found[name] = value  # the Broker says what is wrong with it
    return found


def broker(values: Mapping[str, Any]) -> Broker:
    """Its store is made with the Router's configuration unless it has one of its own."""
    return Broker(
        values["api"],
        store_class=values["store"] or None,
        workers=values["workers"],
        logger=logging.getLogger("Broker"),
        number_of_workers=values["slots"] or None,
        name=values.get("name"),
        labels=values["labels"],
        memory=values["memory"] or None,
        resources=resources(values["resources"]),
        affinity=values["affinity"],
        store_configuration=values.get("own_store_configuration"),
        limits=Limits(log_bytes_max=max(0, values["log_bytes"])),
        access=values["access"],
    )
