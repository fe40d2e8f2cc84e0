"""`pypelinin logs --listen`."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator

import pytest

from pypelinin.cli import app, exits, listening
from pypelinin.errors import DefinitionError
from pypelinin.incremental.log_sending import LogSender


@pytest.fixture
def heard() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(10)
        yield listener


def send(heard: socket.socket, *texts: str) -> None:
    sender = LogSender(heard.getsockname())
    for text in texts:
        sender.handle(logging.LogRecord("x", logging.INFO, "run.py", 7, text, (), None))
    sender.close()


def test_each_record_is_a_line(heard: socket.socket) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.sendto(b"not ours", heard.getsockname())
    send(heard, "one", "two\x1b[2J")
    found = listening.lines(heard, as_json=False)
    assert next(found).endswith(" run.py:7 one")
    assert next(found).endswith(" run.py:7 two?[2J")


def test_each_record_is_a_document(heard: socket.socket) -> None:
    send(heard, "one")
    assert '"text": "one"' in next(listening.lines(heard, as_json=True))


@pytest.mark.parametrize(
    ("text", "place"),
    [("host:77", ("host", 77)), ("77", ("localhost", 77)), (":77", ("localhost", 77))],
)
def test_an_address_has_a_port(text: str, place: tuple[str, int]) -> None:
    assert listening.place_of(text) == place


@pytest.mark.parametrize("text", ["", "host", "host:", "host:x", "host:70000"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(DefinitionError, match="no address"):
        listening.place_of(text)


def test_ctrl_c_is_the_way_to_end_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lines(*_: object) -> Iterator[str]:
        yield "a line"
        raise KeyboardInterrupt

    monkeypatch.setattr(listening, "lines", lines)
    assert app.run(["logs", "--listen", "127.0.0.1:0"]) == exits.FINE
    out, err = capsys.readouterr()
    assert out == "a line\n"
    assert "Listening at 127.0.0.1:" in err


def test_the_address_may_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []
    monkeypatch.setattr(listening, "listen", lambda *how: asked.append(how))
    assert app.run(["logs", "--listen", "--json"]) == exits.FINE
    assert asked == [("localhost:5005", True)]


def test_a_run_and_listening_do_not_go_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["logs", "some-run", "--listen"]) == exits.USAGE
    assert app.run(["logs"]) == exits.USAGE
    assert "Missing argument" in capsys.readouterr().err
