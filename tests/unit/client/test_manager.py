"""What a manager does when nobody answers, and what it refuses by itself."""

from __future__ import annotations

import socket
import time

import pytest

from pypelinin import Job, Pipeline, PipelineManager
from pypelinin.config import Limits
from pypelinin.errors import DefinitionError, NotPicklable, Unreachable
from pypelinin.runtime.values import pack_value


def nobody() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{free.getsockname()[1]}"


def test_no_router_is_told_within_the_deadline() -> None:
    began = time.monotonic()
    address = nobody()
    with (
        PipelineManager(address, deadline_s=0.3) as manager,
        pytest.raises(Unreachable, match=address),
    ):
        manager.start(Pipeline({Job("W"): None}))
    assert time.monotonic() - began < Limits().client_deadline_s


def test_one_object_twice_is_refused_before_anything_is_sent() -> None:
    pipeline = Pipeline({Job("W"): None})
    with PipelineManager(nobody(), deadline_s=0.3) as manager:
        with pytest.raises(DefinitionError, match="started before"):
            manager.start_all([pipeline, pipeline])
        assert pipeline.id is None


def test_data_that_cannot_be_sent_is_named() -> None:
    with socket.socket() as unpicklable:
        pipeline = Pipeline({Job("W", data={"socket": unpicklable}): None})
        with pytest.raises(NotPicklable, match=r"data of Job\('W'\).*socket"):
            pipeline.compile("r" * 32, "me", pack_value)


def test_a_pipeline_of_another_manager_is_not_followed() -> None:
    with (
        PipelineManager(nobody(), deadline_s=0.3) as manager,
        pytest.raises(DefinitionError, match="was not started by this manager"),
    ):
        manager.finished(Pipeline({Job("W"): None}))


def test_an_address_that_is_none() -> None:
    with pytest.raises(DefinitionError, match="no address"):
        PipelineManager("localhost:5555")
