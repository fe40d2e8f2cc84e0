"""Access files: what is in one, who may read it, and what is wrong with others."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from pypelinin.errors import DefinitionError
from pypelinin.runtime.access import (
    Access,
    access_file,
    api_named,
    is_name,
    load,
    named,
    read,
    text_of,
    write,
)
from pypelinin.runtime.keys import pair

ROUTER_PUBLIC = pair()[0]
ALICE = Access("alice", "client", *pair(), ROUTER_PUBLIC, "tcp://a:1", "tcp://a:2")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(tmp_path / "alice.toml", ALICE)
    return tmp_path / "alice.toml"


def test_what_was_written_is_read(path: Path) -> None:
    assert load(path) == ALICE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["alice.toml"]


def test_nothing_is_written_over(path: Path) -> None:
    with pytest.raises(DefinitionError, match="is there already"):
        write(path, replace(ALICE, role="admin"))
    assert load(path) == ALICE
    assert os.listdir(path.parent) == ["alice.toml"]


def test_the_umask_opens_nothing(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write(tmp_path / "a.toml", ALICE)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.toml").stat().st_mode) == 0o600


def test_a_secret_is_not_shown() -> None:
    assert ALICE.secret not in repr(ALICE)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o606, 0o601])
def test_a_file_for_others_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(DefinitionError, match=rf"mode {mode:04o}.*chmod 600 {path}"):
        load(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_somebody_else_is_refused(path: Path) -> None:
    os.chown(path, 12345, -1)
    with pytest.raises(DefinitionError, match="belongs to another user"):
        load(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no name that can be one"),
        (b"\x00\xff\xfe binary", "is no access file"),
        (b"nonsense", "is no access file"),
        (text_of(ALICE)[:90].encode(), "is no access file"),
        (text_of(replace(ALICE, role="king")).encode(), "has the role 'king'"),
        (text_of(replace(ALICE, role="router")).encode(), "has the role 'router'"),
        (text_of(replace(ALICE, name="../up")).encode(), "no name that can be one"),
        (text_of(replace(ALICE, public="short")).encode(), "no public key"),
        (text_of(replace(ALICE, secret="x" * 41)).encode(), "no secret key"),
        (text_of(ALICE).encode() + b"more = 1\n", "it has 'more'"),
        (text_of(ALICE).encode().replace(b'"alice"', b"1"), "it has 'name'"),
        (b"a = " + b"[" * 5000, "is no access file"),
        (b"#" * 70_000, "is no access file"),
        (b"a = " + b"9" * 5000, "is no access file"),
    ],
)
def test_what_is_no_access_file(path: Path, content: bytes, said: str) -> None:
    path.write_bytes(content)
    with pytest.raises(DefinitionError, match=said):
        read(path)


def test_a_file_without_a_secret_is_nobodys(path: Path) -> None:
    path.write_text(text_of(replace(ALICE, secret="")))
    assert read(path).secret == ""
    with pytest.raises(DefinitionError, match=r"has no secret key.*keys export"):
        load(path)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="No such file"):
        load(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe", 0o600)  # opening one for reading would wait for ever
    for place in (tmp_path / "pipe", tmp_path):
        with pytest.raises(DefinitionError, match="is no access file"):
            load(place)
    with pytest.raises(DefinitionError):
        load("a\0b")


def test_which_one_is_meant(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYPELININ_ACCESS", raising=False)
    monkeypatch.delenv("PYPELININ_API", raising=False)
    assert named(None) is None
    assert api_named() is None
    assert named(path) == named(str(path)) == named(ALICE) == ALICE
    assert api_named(path) == "tcp://a:1"
    monkeypatch.setenv("PYPELININ_ACCESS", str(path))
    assert named(None) == ALICE
    assert named("") is None
    assert api_named() == "tcp://a:1"
    assert api_named("") is None
    with pytest.raises(DefinitionError, match="names no Router"):
        api_named(replace(ALICE, api=""))
    monkeypatch.setenv("PYPELININ_API", "tcp://b:1")
    assert api_named() == "tcp://b:1"
    assert api_named(path) == "tcp://a:1"


def test_the_file_for_another_process(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    assert access_file("alice.toml") == str(path)
    assert access_file("") == ""
    monkeypatch.setenv("PYPELININ_ACCESS", "alice.toml")
    assert access_file(None) == str(path)
    with pytest.raises(DefinitionError, match="is a file"):
        access_file(ALICE)


@pytest.mark.parametrize("name", ["router", "", ".x", "a/b", "a b", "x" * 65, "-a", "a\n"])
def test_what_cannot_be_a_name(name: str) -> None:
    assert not is_name(name)
