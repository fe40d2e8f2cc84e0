"""The Router's directory of keys: making, revoking, and reading what may be broken."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from pypelinin.errors import DefinitionError, NotFound
from pypelinin.runtime.access import load, read, text_of
from pypelinin.runtime.keys import (
    KeyRing,
    directory_of,
    find,
    fingerprint,
    new,
    own_key,
    pair,
    revoke,
    ring_of,
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal" / "keys"


def names(ring: KeyRing) -> set[str]:
    return {holder.name for holder in ring.holders.values()}


def test_the_first_key_makes_the_routers_pair(directory: Path) -> None:
    alice = new(directory, "alice", "client", "tcp://a:1", "tcp://a:2")
    bob = new(directory, "bob", "viewer")
    assert alice.router == bob.router == read(directory / "router.toml").public
    assert load(directory / "alice.toml") == alice
    assert sorted(os.listdir(directory)) == ["alice.toml", "bob.toml", "router.toml"]
    for place in (directory, directory.parent):
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
    for name in os.listdir(directory):
        assert stat.S_IMODE((directory / name).stat().st_mode) == 0o600


def test_a_ring_knows_its_holders(directory: Path) -> None:
    alice = new(directory, "alice", "client")
    ring = KeyRing(directory)
    holder = ring.holders[alice.public]
    assert (holder.name, holder.role) == ("alice", "client")
    assert holder.fingerprint == fingerprint(alice.public)
    assert (ring.public, ring.secret) == (alice.router, read(directory / "router.toml").secret)
    assert ring.problems == {}


def test_a_secret_need_not_be_kept(directory: Path) -> None:
    alice = new(directory, "alice", "client", keep_secret=False)
    assert alice.secret
    assert find(directory, "alice").secret == ""
    assert KeyRing(directory).holders[alice.public].name == "alice"


def test_keys_come_and_go(directory: Path) -> None:
    new(directory, "alice", "client")
    ring = KeyRing(directory)
    assert not ring.look()
    new(directory, "bob", "viewer")
    assert ring.look()
    assert names(ring) == {"alice", "bob"}
    revoke(directory, "alice")
    assert ring.look()
    assert names(ring) == {"bob"}
    assert not ring.look()


def test_another_role_in_place_is_seen(directory: Path) -> None:
    alice = new(directory, "alice", "viewer")
    ring = KeyRing(directory)
    path = directory / "alice.toml"
    path.write_text(path.read_text().replace("viewer", "client"))
    assert ring.look()
    assert ring.holders[alice.public].role == "client"


def test_a_name_is_used_once(directory: Path) -> None:
    new(directory, "alice", "client")
    with pytest.raises(DefinitionError, match="is there already"):
        new(directory, "alice", "admin")


@pytest.mark.parametrize(
    ("name", "role", "said"),
    [
        ("router", "client", "cannot be the name"),
        ("../x", "client", "cannot be the name"),
        ("alice", "king", "There is no role 'king'"),
        ("alice", "router", "There is no role 'router'"),
    ],
)
def test_what_is_not_made(directory: Path, name: str, role: str, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        new(directory, name, role)
    assert not directory.exists()


@pytest.mark.parametrize("name", ["nobody", "router", "../alice"])
def test_what_is_not_there_is_not_revoked(directory: Path, name: str) -> None:
    new(directory, "alice", "client")
    with pytest.raises(NotFound, match="There is no key"):
        revoke(directory, name)
    with pytest.raises(NotFound):
        find(directory, name)
    assert (directory / "router.toml").exists()


def test_a_directory_that_others_write_to_is_refused(directory: Path) -> None:
    directory.mkdir(parents=True)
    directory.chmod(0o777)
    if directory.stat().st_uid == 0:
        os.chown(directory, 12345, -1)
    with pytest.raises(DefinitionError, match="Others can write"):
        new(directory, "alice", "client")


# --- what is broken -----------------------------------------------------------------------


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:30])


def rename(path: Path) -> None:
    path.rename(path.with_name("mallory.toml"))


def become_router(path: Path) -> None:
    path.write_text(path.read_text().replace("client", "router"))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (truncate, "no name"),
    "empty": (lambda path: path.write_bytes(b""), "no name"),
    "binary": (lambda path: path.write_bytes(os.urandom(300)), "access file"),
    "nonsense": (lambda path: path.write_text("[x]\ny = 1\n"), "it has 'x'"),
    "role": (lambda path: path.write_text(path.read_text().replace("client", "god")), "'god'"),
    "router": (become_router, "role 'router'"),
    "readable": (lambda path: path.chmod(0o644), "chmod 600"),
    "renamed": (rename, "it is of 'bad'"),
    "directory": (lambda path: (path.unlink(), path.mkdir()), "is no access file"),
}


@pytest.mark.parametrize("how", list(BROKEN))
def test_one_bad_file_disables_nothing_else(directory: Path, how: str) -> None:
    spoil, said = BROKEN[how]
    for name in ("alice", "bad", "zoe"):
        new(directory, name, "client")
    ring = KeyRing(directory)
    spoil(directory / "bad.toml")
    assert ring.look()
    assert names(ring) == {"alice", "zoe"}
    ((_, why),) = ring.problems.items()
    assert said in why
    assert names(KeyRing(directory)) == {"alice", "zoe"}
    assert not ring.look()


def test_a_key_in_two_files_keeps_the_first_role(directory: Path) -> None:
    alice = new(directory, "alice", "viewer")
    stronger = text_of(alice).replace('"alice"', '"zoe"').replace("viewer", "admin")
    (directory / "zoe.toml").write_text(stronger)
    (directory / "zoe.toml").chmod(0o600)
    ring = KeyRing(directory)
    assert ring.holders[alice.public].role == "viewer"
    assert "another file" in ring.problems["zoe.toml"]


def test_a_directory_that_went_away_lets_nobody_in(directory: Path) -> None:
    new(directory, "alice", "client")
    ring = KeyRing(directory)
    directory.rename(directory.with_name("away"))
    assert ring.look()
    assert not ring.holders
    assert "cannot be read" in ring.problems[str(directory)]
    directory.with_name("away").rename(directory)
    assert ring.look()
    assert names(ring) == {"alice"}


def fails(number: int, name: str = "") -> Callable[..., object]:
    """In place of a function of `os`: it fails, perhaps only for the file *name*."""
    stat_of, open_it = os.stat, os.open

    def instead(path: str | os.PathLike[str], *more: int) -> object:
        if not name or os.fspath(path).endswith(name):
            raise OSError(number, os.strerror(number))
        return open_it(path, *more) if more else stat_of(path)

    return instead


@pytest.mark.parametrize("function", ["listdir", "stat"])
def test_a_look_that_fails_revokes_nobody(
    directory: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    for name in ("alice", "bob"):
        new(directory, name, "client")
    ring = KeyRing(directory)
    with monkeypatch.context() as broken:
        broken.setattr(os, function, fails(errno.EMFILE if function == "listdir" else errno.EIO))
        assert ring.look()
        assert names(ring) == {"alice", "bob"}
        assert all("cannot be read" in why for why in ring.problems.values())
        assert ring.problems
        assert not ring.look()
    assert ring.look()  # the problem is over
    assert ring.problems == {}
    assert names(ring) == {"alice", "bob"}


def test_a_key_is_revoked_also_while_no_list_can_be_had(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("alice", "bob"):
        new(directory, name, "client")
    ring = KeyRing(directory)
    monkeypatch.setattr(os, "listdir", fails(errno.EMFILE))
    revoke(directory, "alice")
    assert ring.look()
    assert names(ring) == {"bob"}


def test_a_file_that_could_not_be_read_is_read_again(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new(directory, "alice", "client")
    ring = KeyRing(directory)
    new(directory, "bob", "viewer")
    with monkeypatch.context() as broken:
        broken.setattr(os, "open", fails(errno.EMFILE, "bob.toml"))
        assert ring.look()
        assert names(ring) == {"alice"}
        assert "Too many open files" in ring.problems["bob.toml"]
    assert ring.look()
    assert names(ring) == {"alice", "bob"}


def test_a_directory_that_is_denied_lets_nobody_in(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new(directory, "alice", "client")
    ring = KeyRing(directory)
    monkeypatch.setattr(os, "listdir", fails(errno.EACCES))
    assert ring.look()
    assert not ring.holders


@pytest.mark.parametrize("how", ["truncated", "binary", "readable", "other"])
def test_without_its_own_pair_a_router_does_not_start(directory: Path, how: str) -> None:
    new(directory, "alice", "client")
    path = directory / "router.toml"
    if how == "other":
        path.write_text(path.read_text().replace(read(path).public, pair()[0]))
    else:
        BROKEN[how][0](path)
    with pytest.raises(DefinitionError, match=r"router\.toml"):
        ring_of("", directory.parent)


def test_keys_that_are_meant_are_never_none(directory: Path) -> None:
    journal = directory.parent
    assert ring_of("", journal) is None
    with pytest.raises(DefinitionError, match=r"There are no keys in .*keys new"):
        ring_of(str(directory), journal)
    new(directory, "alice", "client")
    assert ring_of("", journal) is not None
    assert ring_of(str(directory), "elsewhere") is not None
    (directory / "router.toml").unlink()
    with pytest.raises(DefinitionError, match="No such file"):
        ring_of("", journal)
    (directory / "alice.toml").unlink()  # who emptied the directory did not say "no keys"
    with pytest.raises(DefinitionError, match="There are no keys in"):
        ring_of("", journal)
    directory.rmdir()
    assert ring_of("", journal) is None


def test_a_file_in_place_of_the_directory_is_no_reason_to_have_none(directory: Path) -> None:
    directory.parent.mkdir()
    directory.write_text("x")
    with pytest.raises(DefinitionError, match="cannot be read: Not a directory"):
        ring_of("", directory.parent)
    directory.unlink()
    directory.symlink_to("not-mounted")
    with pytest.raises(DefinitionError, match="cannot be read: No such file"):
        ring_of("", directory.parent)
    directory.unlink()
    directory.write_text("x")
    assert ring_of("", directory) is None  # the journal says what is wrong with its own


def test_keys_of_our_own_daemons(directory: Path) -> None:
    path = own_key(directory, "local-broker", "broker")
    assert load(path).role == "broker"
    assert own_key(directory, "local-broker", "broker") == path
    with pytest.raises(DefinitionError, match="has to have the role admin"):
        own_key(directory, "local-broker", "admin")


def test_where_keys_are() -> None:
    assert directory_of("", "/j") == Path("/j/keys")
    assert directory_of("/k", "/j") == Path("/k")
