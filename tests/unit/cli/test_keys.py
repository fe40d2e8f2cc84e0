"""`pypelinin keys`: making, listing, exporting and revoking."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from pypelinin.cli import main
from pypelinin.config import DEFAULTS
from pypelinin.runtime.access import load
from pypelinin.runtime.keys import fingerprint


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in DEFAULTS:
        monkeypatch.delenv(f"PYPELININ_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_key_with_its_access_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api = ("--api", "tcp://router.example:5555", "--broadcast", "tcp://router.example:5556")
    assert main(["keys", "new", "alice", "--role", "client", *api, "--out", "a.toml"]) == 0
    found = load(here / "a.toml")
    assert (found.name, found.role) == ("alice", "client")
    assert (found.api, found.broadcast) == (api[1], api[3])
    assert stat.S_IMODE((here / "a.toml").stat().st_mode) == 0o600
    said = capsys.readouterr()
    assert fingerprint(found.public) in said.out
    assert "from its next start" in said.err
    assert found.secret not in said.out + said.err
    assert main(["keys", "export", "alice"]) == 6
    assert "secret of 'alice' is not kept here" in capsys.readouterr().err


def test_a_key_that_is_exported_later(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "new", "alice", "--role", "viewer"]) == 0
    assert main(["keys", "export", "alice", "--api", "tcp://r:1"]) == 0
    found = load(here / "alice.toml")
    assert found.api == "tcp://r:1"
    assert main(["keys", "export", "alice"]) == 6
    assert "alice.toml is there already" in capsys.readouterr().err
    assert main(["keys", "export", "alice", "--out", "-"]) == 0
    assert found.secret in capsys.readouterr().out


def test_the_list(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    assert main(["keys", "list"]) == 6
    main(["keys", "new", "bob", "--role", "broker"])
    main(["keys", "new", "alice", "--role", "client", "--out", "a.toml"])
    (here / ".pypelinin" / "keys" / "bad.toml").write_text("?")
    capsys.readouterr()
    assert main(["keys", "list"]) == 0
    said = capsys.readouterr()
    first, second = said.out.splitlines()
    assert first.split()[:2] == ["alice", "client"]
    assert "secret not kept here" in first
    assert second.split()[:2] == ["bob", "broker"]
    assert "left out: bad.toml" in said.err
    assert main(["keys", "list", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["exportable"]) for row in document["keys"]] == [
        ("alice", False), ("bob", True),
    ]  # fmt: skip
    assert list(document["left_out"]) == ["bad.toml"]


def test_a_revoked_key_is_gone(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    main(["keys", "new", "bob", "--role", "broker"])
    assert main(["keys", "revoke", "bob"]) == 0
    assert not (here / ".pypelinin" / "keys" / "bob.toml").exists()
    assert main(["keys", "revoke", "bob"]) == 7
    assert "There is no key 'bob'" in capsys.readouterr().err


def test_an_access_file_that_cannot_be_written_leaves_no_key(here: Path) -> None:
    (here / "there").write_text("mine")
    for out in ("there", "no/such/directory"):
        assert main(["keys", "new", "bob", "--role", "broker", "--out", out]) != 0
        assert not (here / ".pypelinin" / "keys" / "bob.toml").exists()
    assert (here / "there").read_text() == "mine"


def test_the_directory_is_a_setting(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYPELININ_KEYS", "elsewhere")
    assert main(["keys", "new", "bob", "--role", "broker"]) == 0
    assert (here / "elsewhere" / "bob.toml").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("new", "bob"), 2), (("new", "bob", "--role", "king"), 2),
        (("new", "../bob", "--role", "broker"), 6),
        (("new", "bob", "--role", "broker", "--api", "nonsense"), 2),
    ],
)  # fmt: skip
def test_wrong_use(here: Path, arguments: tuple[str, ...], code: int) -> None:
    assert main(["keys", *arguments]) == code
    assert not (here / ".pypelinin" / "keys" / "bob.toml").exists()


def test_a_router_at_all_interfaces_is_told_by_its_name(here: Path) -> None:
    bind = ("--api", "tcp://0.0.0.0:5555")
    assert main(["keys", "new", "bob", "--role", "broker", *bind, "--out", "b.toml"]) == 0
    assert "0.0.0.0" not in load(here / "b.toml").api
