"""Which hosts a user names, and how ssh is called."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from pypelinin.cli import far
from pypelinin.cli.hosts import Host
from pypelinin.errors import DefinitionError


@pytest.fixture
def hosts(tmp_path: Path) -> str:
    path = tmp_path / "hosts.txt"
    path.write_text("# two\na\nb cpus=2 # the large one\n")
    return str(path)


def test_a_file_and_a_list_say_the_same(hosts: str) -> None:
    both = [Host("a"), Host("b", cpus=2)]
    assert far.named(hosts, None) == far.named(None, "a, b cpus=2") == both
    assert far.named(None, None) == []


def test_hosts_are_named_once(hosts: str) -> None:
    with pytest.raises(click.UsageError, match="--hosts and --host exclude each other"):
        far.named(hosts, "a")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("a, a", "--host: 'a': a was named before"),
        ("a cores=2", "'cores' is no property of a host"),
        ("", "--host: '' has nothing where a host should be"),
    ],
)
def test_a_wrong_list_is_told(given: str, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        far.named(None, given)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match=r"nowhere\.txt cannot be read"):
        far.read_hosts(str(tmp_path / "nowhere.txt"))
    (tmp_path / "binary").write_bytes(b"\xff")
    with pytest.raises(click.UsageError, match="binary cannot be read"):
        far.read_hosts(str(tmp_path / "binary"))


def test_ssh_is_a_command_with_words() -> None:
    assert far.ssh_words("ssh -F 'my file'") == ["ssh", "-F", "my file"]
    assert far.ssh_words("") == ["ssh"]
    with pytest.raises(click.UsageError, match=r"--ssh: .* cannot be read: No closing quotation"):
        far.ssh_words("ssh 'x")
