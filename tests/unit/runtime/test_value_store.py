"""Which values travel inline, and where the others are."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
import zmq

from pypelinin.errors import DefinitionError
from pypelinin.runtime import value_files, value_store
from pypelinin.runtime.served_values import ServedValues
from pypelinin.runtime.value_files import PROBE, NotSealed
from pypelinin.runtime.value_server import Server
from pypelinin.runtime.value_store import Values
from pypelinin.runtime.values import pack_pieces, unpack_value
from pypelinin.wire.definitions import INLINE_BYTES_MAX, NO_PLACE, ValuePlace

RUN = "a" * 32


def test_small_values_travel_large_ones_are_kept(tmp_path: Path) -> None:
    values = Values(ValuePlace(str(tmp_path), "", 0, False))
    assert values.keep(f"{RUN}/1-1", [b"m", b"\x01"]) == b"m\x01"
    large = pack_pieces("it", b"x" * 100_000)
    packed = values.keep(f"{RUN}/1-2", large)
    assert len(packed) < 100
    assert unpack_value(values.open(packed)) == b"x" * 100_000
    assert values.open(b"m\x01") == b"m\x01"


def test_arguments_of_a_run_are_one_file(tmp_path: Path) -> None:
    values = Values(ValuePlace(str(tmp_path), "", 0, True))
    large = b"m" + b"x" * INLINE_BYTES_MAX
    sent = values.keep_all(f"{RUN}/arguments", [None, b"m\x01", large, large])
    assert sent[:2] == [None, b"m\x01"]
    assert [bytes(values.open(packed or b"")) for packed in sent[2:]] == [large, large]
    assert os.listdir(tmp_path / RUN) == ["arguments"]


def test_without_a_place_a_large_value_is_refused() -> None:
    with pytest.raises(DefinitionError, match="65,536 bytes"):
        Values(NO_PLACE).keep(f"{RUN}/1-1", [b"x" * 100_000])


def test_a_directory_with_another_probe_is_another_clusters(tmp_path: Path) -> None:
    (tmp_path / PROBE).write_text("other")
    with pytest.raises(DefinitionError):
        Values(ValuePlace(str(tmp_path), "mine", 0, False)).keep(f"{RUN}/1-1", [b"x" * 100_000])
    (tmp_path / PROBE).write_text("mine")
    Values(ValuePlace(str(tmp_path), "mine", 0, False)).keep(f"{RUN}/1-1", [b"x" * 100_000])


def test_a_machine_that_shares_the_directory_asks_the_one_that_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = ServedValues(tmp_path / "values", "127.0.0.1")
    try:
        place = served.start("c" * 32, durable=True)
        packed = Values(place).keep(f"{RUN}/1-1", [b"x" * 100_000])
        for module in (value_files, value_store):  # as seen from another machine
            monkeypatch.setattr(module, "this_start", lambda: "@0other00")
        values = Values(place)
        assert bytes(values.open(packed)) == b"x" * 100_000
        values.close()
        with pytest.raises(NotSealed):
            Values(replace(place, port=0)).open(packed)
    finally:
        served.close()


def test_a_value_server_can_have_a_whole_address(tmp_path: Path) -> None:
    """As at the end of a tunnel: a socket of this machine stands for the one of the other."""
    there, here = tmp_path / "there", tmp_path / "here.values"
    there.mkdir()
    server = Server(str(there), "probe")
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.linger = 0
        socket.bind(f"ipc://{here}")
        values = Values(ValuePlace("/no/such", "probe", 1, False), f"ipc://{here}")
        kept: list[bytes] = []
        asks = Thread(target=lambda: kept.append(values.keep(f"{RUN}/1-1", [b"x" * 100_000])))
        asks.start()
        while not kept and asks.is_alive():
            if socket.poll(50):
                peer, *frames = socket.recv_multipart()
                socket.send_multipart([peer, *server.answer(peer, frames)])
        asks.join(30)
        values.close()
    assert (there / RUN / "1-1").read_bytes() == b"x" * 100_000
