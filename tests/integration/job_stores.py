"""StoreClasses that watch and misbehave."""

from __future__ import annotations

import os
import signal
from typing import Any

from tests.integration.jobs import note


class InfoStore:
    """Gives the data, notes every call."""

    def __init__(self, log: str) -> None:
        self.log = log

    def retrieve(self, info: Any) -> Any:
        note(self.log, call="retrieve", info=info)
        return info["data"]

    def save(self, info: Any) -> None:
        note(self.log, call="save", info=info)

    def save_monitoring(self, data: Any) -> None:
        note(self.log, call="save_monitoring", data=data)


class BadInit:
    def __init__(self, **configuration: Any) -> None:
        raise PermissionError("no database for you")


class BadRetrieve:
    def retrieve(self, info: Any) -> Any:
        raise LookupError("nothing here")

    def save(self, info: Any) -> None:
        raise AssertionError("there was nothing to save")


class BadSave:
    def retrieve(self, info: Any) -> Any:
        return info["data"]

    def save(self, info: Any) -> None:
        raise OSError("disk full")


class BrokenMonitoring:
    """Monitoring exits the process; jobs must not notice."""

    def __init__(self, log: str) -> None:
        self.log = log

    def retrieve(self, info: Any) -> Any:
        return info["data"]

    def save(self, info: Any) -> None:
        pass

    def save_monitoring(self, data: Any) -> None:
        note(self.log, call="save_monitoring")
        os._exit(9)


class StuckMonitoring(BrokenMonitoring):
    """Monitoring never returns."""

    def save_monitoring(self, data: Any) -> None:
        note(self.log, call="save_monitoring")
        while True:
            signal.pause()
