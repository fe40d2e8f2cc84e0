"""The Router's value directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypelinin.errors import ClusterError
from pypelinin.runtime.served_values import ServedValues
from pypelinin.runtime.value_files import ValueFiles
from pypelinin.runtime.value_store import is_readable


def test_the_port_stays_over_a_restart(tmp_path: Path) -> None:
    first = ServedValues(tmp_path / "values", "127.0.0.1")
    one = first.start("c" * 32, durable=True)
    first.close()
    second = ServedValues(tmp_path / "values", "127.0.0.1")
    try:
        other = second.start("c" * 32, durable=True)
        assert one.port == other.port
        assert not is_readable(one)  # a probe is of one life
        assert is_readable(other)
    finally:
        second.close()


def test_a_port_that_is_taken_is_left_to_others(tmp_path: Path) -> None:
    first = ServedValues(tmp_path / "one", "127.0.0.1")
    second = ServedValues(tmp_path / "two", "127.0.0.1")
    try:
        one = first.start("c" * 32, durable=True)
        (tmp_path / "two").mkdir()
        (tmp_path / "two" / "port").write_text(str(one.port))
        assert second.start("d" * 32, durable=True).port not in (0, one.port)
    finally:
        second.close()
        first.close()


def test_dropped_values_are_gone(tmp_path: Path) -> None:
    served = ServedValues(tmp_path, "127.0.0.1")
    files = ValueFiles(tmp_path)
    files.put("run/1", [[b"x"]], durable=False)
    files.put("run/2", [[b"x"]], durable=False)
    served.drop(["run/1"])
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["2"]
    served.drop(["run"])
    assert not (tmp_path / "run").exists()


def test_a_restart_that_fails_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = ServedValues(tmp_path / "values", "127.0.0.1")
    try:
        place = served.start("c" * 32, durable=True)
        really, asked = served._serve, []

        def serve(port: str) -> str:
            asked.append(port)
            if len(asked) == 1:
                raise ClusterError("It cannot start.")
            return really("*" if len(asked) == 2 else port)  # somebody else has that port

        monkeypatch.setattr(served, "_serve", serve)
        assert served._server is not None
        served._server.kill()
        served._server.wait()
        for now, works in ((1e6, False), (2e6, False), (3e6, True)):
            served.watch(now)
            assert (served._server is not None) == works
        assert asked == [str(place.port)] * 3
    finally:
        served.close()
