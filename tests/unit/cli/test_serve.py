"""Daemons from settings, and their logs."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pypelinin import Broker, Pipeliner, Router
from pypelinin.cli import serve
from pypelinin.config import DEFAULTS
from pypelinin.errors import DefinitionError


def values(**changed: Any) -> dict[str, Any]:
    return {**DEFAULTS, **changed}


def test_a_router_takes_its_settings(tmp_path: Path) -> None:
    router = serve.daemon_of(
        "router",
        values(
            journal=str(tmp_path), store_configuration={"directory": "x"}, monitoring_interval=5,
            insecure=True, synchronous="normal",
        ),
    )  # fmt: skip
    assert isinstance(router, Router)
    assert router.journal == tmp_path
    assert router.config["store"] == {"directory": "x"}
    assert router.config["monitoring interval"] == 5
    assert router.config["insecure"] is True


def test_a_pipeliner_takes_its_settings() -> None:
    pipeliner = serve.daemon_of("pipeliner", values(api="tcp://kiwi:1"))
    assert isinstance(pipeliner, Pipeliner)
    assert pipeliner.api == "tcp://kiwi:1"


def test_a_broker_takes_its_settings() -> None:
    broker = serve.daemon_of(
        "broker",
        values(workers=["a", "b"], slots=3, store="m:C", labels={"x": "y"}, store_configuration={}),
    )
    assert isinstance(broker, Broker)
    assert (broker.workers, broker.slots, broker.store) == (["a", "b"], 3, "m:C")
    assert broker.labels == {"x": "y"}
    assert broker.store_configuration is None
    own = serve.broker(values(workers=["a"], own_store_configuration={"d": 1}))
    assert own.store_configuration == {"d": 1}
    assert own.slots >= 1


def test_a_wrong_address_is_named() -> None:
    with pytest.raises(DefinitionError, match="api: 'x' is no address"):
        serve.daemon_of("router", values(api="x"))


@pytest.fixture
def logs() -> Iterator[None]:
    """The root logger as it was, afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("logs")
def test_text_logs_look_as_ever(capsys: pytest.CaptureFixture[str]) -> None:
    serve.log_to_stderr(values(log_level="warning"))
    logging.getLogger("Router").info("not this")
    logging.getLogger("Router").warning("Entering main loop")
    line = capsys.readouterr().err
    assert line.endswith(" - Router - WARNING - Entering main loop\n")
    assert len(line.split(" - ")[0]) == len("2012-10-15 14:12:59,112")


@pytest.mark.usefixtures("logs")
def test_json_logs_are_one_document_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    serve.log_to_stderr(values(log_format="json"))
    logging.getLogger("Broker").info("two\nlines, ü")
    try:
        raise ValueError("no")
    except ValueError:
        logging.getLogger("Broker").error("it failed", exc_info=sys.exc_info())
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (first["level"], first["name"], first["message"]) == ("info", "Broker", "two\nlines, ü")
    assert first["time"].endswith("Z")
    assert "ValueError: no" in second["traceback"]
