"""The Router's value directory."""

from __future__ import annotations

from pathlib import Path

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
