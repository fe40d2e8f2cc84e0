"""A list of hosts, and every mistake in one."""

from __future__ import annotations

import pytest

from pypelinin.cli import hosts
from pypelinin.cli.hosts import Host, parse, parse_list, with_hosts
from pypelinin.errors import DefinitionError

FILE = """
# all of them
node1
node2 cpus=4   # the large one

me@node3 port=2222 python=venv/bin/python
node4 user=you
fe80::1%eth0
"""


def test_a_file_with_everything() -> None:
    assert parse(FILE, "hosts.txt") == [
        Host("node1"),
        Host("node2", cpus=4),
        Host("node3", user="me", port=2222, python="venv/bin/python"),
        Host("node4", user="you"),
        Host("fe80::1%eth0"),
    ]


def test_a_list_on_the_command_line() -> None:
    assert parse_list("a, b cpus=2 ,me@c", "--host") == [
        Host("a"),
        Host("b", cpus=2),
        Host("c", user="me"),
    ]


def test_what_ssh_is_told() -> None:
    assert [host.target for host in parse("a\nme@b", "f")] == ["a", "me@b"]


def test_only_a_bare_localhost_is_this_machine() -> None:
    lines = "localhost cpus=2\nme@localhost\nlocalhost port=22\nlocalhost python=x\nnode"
    found = [parse(line, "f")[0].is_here for line in lines.splitlines()]
    assert found == [True, False, False, False, False]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("-oProxyCommand=x", "'-oProxyCommand=x' is no name of a host"),
        ("a/b", "'a/b' is no name of a host"),
        ("me@", "'' is no name of a host"),
        ("@a", "'' is no name of a user"),
        ("-l@a", "'-l' is no name of a user"),
        ("a b", "'b' is no property of a host"),
        ("a cpu=2", "'cpu' is no property of a host. Did you mean 'cpus'?"),
        ("a cpus=0", "cpus is a number from 1 to 10000, not '0'"),
        ("a cpus=10001", "cpus is a number from 1 to 10000, not '10001'"),
        ("a cpus=-1", "cpus is a number"),
        ("a cpus=two", "cpus is a number"),
        ("a cpus=²", "cpus is a number"),
        ("a cpus=" + "9" * 5000, "cpus is a number"),
        ("a cpus=", "cpus is a number from 1 to 10000, not ''"),
        ("a cpus=1 cpus=1", "cpus is said twice"),
        ("me@a user=you", "user is said twice"),
        ("a user=-x", "user is the name of a user, not '-x'"),
        ("a port=65536", "port is a number from 1 to 65535, not '65536'"),
        ("a python=", "python is the path of an interpreter, not ''"),
        ("a python=-c", "python is the path of an interpreter, not '-c'"),
        ("good", "good was named before"),
        ("me@good port=3", "good was named before"),
    ],
)
def test_a_mistake_is_told_with_its_line(line: str, what: str) -> None:
    with pytest.raises(DefinitionError) as error:
        parse(f"# first\ngood\n\n{line} # last", "hosts.txt")
    assert str(error.value).startswith(f"hosts.txt, line 4: {line!r}: {what}")
    assert error.value.remedy


@pytest.mark.parametrize("text", ["", "\n\n", "# a\n  # b"])
def test_no_host_at_all(text: str) -> None:
    with pytest.raises(DefinitionError, match=r"hosts\.txt names no host\. Write one host a line"):
        parse(text, "hosts.txt")


@pytest.mark.parametrize("text", ["", "a,", ",a", "a,,b"])
def test_a_list_with_a_hole(text: str) -> None:
    with pytest.raises(DefinitionError, match=r"--host: .* has nothing where a host should be"):
        parse_list(text, "--host")


def test_a_mistake_in_a_list() -> None:
    with pytest.raises(DefinitionError, match="--host: 'a': a was named before"):
        parse_list("a,a", "--host")


def test_there_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "HOSTS_MAX", 2)
    assert len(parse("a\nb", "f")) == 2
    with pytest.raises(DefinitionError, match="there are more than 2 hosts"):
        parse("a\nb\nc", "f")


def test_hosts_have_their_own_slots() -> None:
    values = {"slots": 0, "roles": ["router", "broker"]}
    listed = [Host("localhost", cpus=2), Host("a"), Host("b", cpus=3)]
    found = with_hosts(values, listed)
    assert (found["roles"], found["slots"]) == (["router", "broker"], 2)
    assert [(host["name"], host["cpus"]) for host in found["hosts"]] == [("a", 0), ("b", 3)]
    found = with_hosts({**values, "slots": 4}, listed[1:])
    assert (found["roles"], found["slots"]) == (["router"], 4)
    assert [host["cpus"] for host in found["hosts"]] == [4, 3]
