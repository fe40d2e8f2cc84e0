"""The way to a Router: which one, how long, and what counts as an answer."""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypelinin.client.requests import Requests
from pypelinin.cluster.events import Malformed, Received
from pypelinin.config import DEFAULT_API, VERSION, Limits
from pypelinin.errors import (
    ClusterError,
    DefinitionError,
    PypelininError,
    Refused,
    Unreachable,
    VersionMismatch,
)
from pypelinin.local import LocalPort
from pypelinin.machine import Event
from pypelinin.runtime.places import ClusterFile, ProcessMark, RunningCluster
from pypelinin.wire import messages
from pypelinin.wire.codec import Envelope, Record
from pypelinin.wire.definitions import Refusal

pytestmark = pytest.mark.timeout(60)
API = "tcp://127.0.0.1:9"


@pytest.fixture(autouse=True)
def _no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("PYPELININ_API", raising=False)


class Answers:
    """A Router that says what a real one never would."""

    def __init__(self, *events: Event) -> None:
        self.events = list(events)
        self.sent: list[Record] = []
        self.closed = False

    def send(self, envelope: Envelope) -> None:
        self.sent.append(envelope.message)

    def wait(self, timeout_ms: int) -> bool:
        return bool(self.sent and self.events)

    def receive(self) -> Iterator[Event]:
        while self.events:
            yield self.events.pop(0)

    def flush(self) -> None: ...

    def reconnect(self) -> None: ...

    def let_wake(self) -> None: ...

    def wake(self) -> None: ...

    def close(self) -> None:
        self.closed = True


def said(message: Record) -> Received:
    return Received(b"", Envelope(message))


def configuration(broadcast: str) -> Received:
    return said(messages.Configuration(1, "c", 1, VERSION, broadcast, {"store": {}}))


def nobody() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{free.getsockname()[1]}"


# --- which Router -----------------------------------------------------------------------------


def test_without_a_word_it_is_the_usual_address() -> None:
    with Requests() as requests:
        assert requests.api == DEFAULT_API


def test_what_is_nearer_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = ClusterFile(tmp_path / "journal")
    mark = ProcessMark.of(os.getpid())
    assert file.take()
    try:
        file.write(RunningCluster("j", "tcp://127.0.0.1:7", "tcp://127.0.0.1:6", 1.0, "", mark, {}))
        with Requests() as requests:
            assert requests.api == "tcp://127.0.0.1:7", "of `pypelinin up`"
        monkeypatch.setenv("PYPELININ_API", "tcp://127.0.0.1:8")
        with Requests() as requests:
            assert requests.api == "tcp://127.0.0.1:8"
        with Requests(API) as requests:
            assert requests.api == API
    finally:
        file.close()


@pytest.mark.parametrize("address", ["localhost:5555", "tcp://", "5555", "nonsense://x"])
def test_an_address_that_is_none_is_said(address: str) -> None:
    with pytest.raises(DefinitionError, match="is no address"):
        Requests(address)


# --- the handshake ----------------------------------------------------------------------------


def test_the_configuration_is_asked_for_once() -> None:
    port = Answers(configuration("tcp://127.0.0.1:6"))
    with Requests(port=port) as requests:
        found = requests.configuration()
        assert requests.configuration() is found
    assert [type(message) for message in port.sent] == [messages.GetConfiguration]


def test_an_embedded_router_answers_like_any_other() -> None:
    with Requests(port=LocalPort(1)) as requests:
        assert requests.configuration().version == VERSION
        assert len(requests.configuration().cluster) == 32


def test_another_broadcast_address_is_refused_each_time() -> None:
    port = Answers(configuration("tcp://127.0.0.1:6"))
    requests = Requests(None, "tcp://127.0.0.1:5", port=port)
    with pytest.raises(DefinitionError, match=r"broadcasts at tcp://127\.0\.0\.1:6, not at .*:5"):
        requests.configuration()
    port.events.append(said(messages.Configuration(2, "c", 1, VERSION, "tcp://127.0.0.1:6", {})))
    with pytest.raises(DefinitionError, match="Leave broadcast out"):
        requests.configuration()


def test_the_broadcast_address_may_be_that_of_another_interface() -> None:
    port = Answers(configuration("tcp://0.0.0.0:5"))
    requests = Requests(None, "tcp://host.example:5", port=port)
    assert requests.configuration().broadcast == "tcp://0.0.0.0:5"


# --- answers ----------------------------------------------------------------------------------


def test_silence_is_told_within_the_deadline_and_names_the_address() -> None:
    address, began = nobody(), time.monotonic()
    with (
        Requests(address, deadline_s=0.2) as requests,
        pytest.raises(Unreachable, match=address) as caught,
    ):
        requests.configuration()
    assert 0.2 <= time.monotonic() - began < Limits().client_deadline_s
    assert "pypelinin up" in caught.value.remedy


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (said(messages.Refused(1, Refusal("version", "Other."))), VersionMismatch, "Other."),
        (said(messages.Refused(1, Refusal("newer code", "No."))), Refused, "No."),
        (said(messages.Refused(0, Refusal("malformed", "What?"))), DefinitionError, "What?"),
        (Malformed(b"", "version", "Protocol 9."), VersionMismatch, "Protocol 9."),
        (said(messages.Status(1, ())), ClusterError, "The Router answered with Status."),
    ],
)
def test_every_other_answer_is_an_error(
    answer: Event, kind: type[PypelininError], text: str
) -> None:
    with pytest.raises(PypelininError) as caught:
        Requests(port=Answers(answer)).configuration()
    assert type(caught.value) is kind
    assert caught.value.what == text


def test_the_answer_to_another_request_is_none() -> None:
    stranger = said(messages.Configuration(7, "other", 1, VERSION, "", {}))
    requests = Requests(port=Answers(stranger, configuration("tcp://127.0.0.1:6")))
    assert requests.configuration().cluster == "c"


def test_the_way_is_let_go_of_at_the_end_of_the_block() -> None:
    port = Answers()
    with Requests(port=port) as requests:
        assert requests.api == ""
        assert not port.closed
    assert port.closed


# --- who asks ---------------------------------------------------------------------------------


def test_the_submitter_is_the_user_at_this_host() -> None:
    assert Requests(port=Answers()).submitter == f"{getpass.getuser()}@{socket.gethostname()}"


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 987_654_321)
    assert Requests(port=Answers()).submitter == f"987654321@{socket.gethostname()}"
