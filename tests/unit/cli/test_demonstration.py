"""`pypelinin demo` hands its options to the demo and its errors to the entrance."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypelinin.cli import main
from pypelinin.demo import main as demo
from pypelinin.errors import ClusterError, PypelininError


def test_options_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    def run(*given: object) -> int:
        seen.extend(given)
        return 1

    monkeypatch.setattr(demo, "run", run)
    options = ["--pages", "3", "--slots", "2", "--keep", "there", "--json"]
    assert main(["demo", "http://a/", "http://b/", *options]) == 1
    assert seen == [("http://a/", "http://b/"), 2, Path("there"), True, 3]


@pytest.mark.parametrize(
    ("error", "code"), [(ClusterError("no."), 4), (TimeoutError("too late."), 5)]
)
def test_an_error_of_the_cluster_is_a_code(
    monkeypatch: pytest.MonkeyPatch,
    error: PypelininError,
    code: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(*_: object) -> int:
        raise error

    monkeypatch.setattr(demo, "run", run)
    assert main(["demo"]) == code
    assert capsys.readouterr().err == f"pypelinin demo: {error}\n"


def test_what_makes_no_sense_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--slots", "0"]) == 2
    assert main(["demo", "--pages", "x"]) == 2
    assert main(["demo", "python.org"]) == 2
    assert "'python.org'" in capsys.readouterr().err
