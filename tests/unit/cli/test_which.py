"""Which cluster: flag, file, environment, the running one, the default."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from pypelinin.cli import which
from pypelinin.cli.which import Reach, Target, find
from pypelinin.runtime.keys import new
from pypelinin.runtime.places import ClusterFile
from tests.unit.runtime.test_places import cluster_of


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.delenv("PYPELININ_API", raising=False)
    place = tmp_path / "project"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def test_each_source_gives_way_to_the_one_before(here: Path) -> None:
    found = find(None, {}, here)
    assert (found.api, found.why, found.is_default) == ("tcp://127.0.0.1:5555", "the default", True)
    file = ClusterFile(here / "journal")
    assert file.take()
    file.write(cluster_of(here / "journal", "tcp://127.0.0.1:1"))
    found = find(None, {}, here)
    assert (found.api, found.is_default) == ("tcp://127.0.0.1:1", False)
    assert found.why == f"your running cluster, journal {here / 'journal'}"
    environ = {"PYPELININ_API": "tcp://127.0.0.1:2"}
    assert find(None, environ, here) == which.Target("tcp://127.0.0.1:2", "PYPELININ_API")
    settings = here / "pypelinin.toml"
    settings.write_text('api = "tcp://127.0.0.1:3"\n')
    found = find(None, environ, here)
    assert (found.api, found.why) == ("tcp://127.0.0.1:3", f"api in {settings}")
    found = find("tcp://127.0.0.1:4", environ, here)
    assert (found.api, found.is_flag) == ("tcp://127.0.0.1:4", True)
    file.close()


def test_a_file_without_an_address_says_nothing_about_it(here: Path) -> None:
    (here / "pypelinin.toml").write_text("slots = 2\n")
    assert find(None, {}, here).is_default


def test_of_several_running_clusters_this_directorys_is_meant(here: Path) -> None:
    mine, other = ClusterFile(here / ".pypelinin"), ClusterFile(here / "other")
    for file, name, port, age in ((mine, ".pypelinin", 1, 0.0), (other, "other", 2, 5.0)):
        assert file.take()
        file.write(cluster_of(here / name, f"tcp://127.0.0.1:{port}", started_at=age))
    assert find(None, {}, here).api == "tcp://127.0.0.1:1"
    newest = find(None, {}, here.parent)
    assert newest.api == "tcp://127.0.0.1:2"
    assert newest.why == f"one of your 2 clusters, journal {here / 'other'}"
    mine.close()
    other.close()


def test_a_cluster_that_died_is_not_meant(here: Path) -> None:
    file = ClusterFile(here / "journal")
    file.write(cluster_of(here / "journal", "tcp://127.0.0.1:1"))
    assert find(None, {}, here).is_default


@pytest.mark.parametrize(
    ("flag", "environ", "file", "said"),
    [
        ("foo", {}, "", "--api: 'foo' is no address"),
        (None, {"PYPELININ_API": "bar"}, "", "PYPELININ_API: 'bar' is no address"),
        (None, {}, 'api = "baz"', "pypelinin.toml: 'baz' is no address"),
        (None, {}, "apis = 1", "unknown setting 'apis'. Did you mean 'api'?"),
    ],
)
def test_a_wrong_address_is_wrong_use(
    here: Path, flag: str | None, environ: dict[str, str], file: str, said: str
) -> None:
    (here / "pypelinin.toml").write_text(file)
    with pytest.raises(click.UsageError) as error:
        find(flag, environ, here)
    assert said in str(error.value)


def test_it_says_which_unless_it_was_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Reach(None, None, quiet=False).target()
    assert capsys.readouterr().err == "cluster tcp://127.0.0.1:5555 (the default)\n"
    Reach(None, None, quiet=True).target()
    Reach(None, None, quiet=False).target(quiet=True)
    Reach("tcp://127.0.0.1:4", None, quiet=False).target()
    assert capsys.readouterr().err == ""


def test_a_way_back_names_the_flag() -> None:
    assert Reach("tcp://127.0.0.1:4", None, quiet=False).flag == " --api tcp://127.0.0.1:4"
    assert Reach(None, None, quiet=False).flag == ""


def test_a_manager_has_the_address_and_the_deadline(here: Path) -> None:
    with Reach("tcp://127.0.0.1:4", 0.05, quiet=True).manager() as manager:
        assert manager.api == "tcp://127.0.0.1:4"


@pytest.fixture
def access(tmp_path: Path) -> str:
    new(tmp_path / "keys", "alice", "client", "tcp://10.0.0.1:1")
    return str(tmp_path / "keys" / "alice.toml")


def test_an_access_file_names_the_cluster(here: Path, access: str) -> None:
    assert find(None, {}, here, access) == Target(
        "tcp://10.0.0.1:1", "--access", is_flag=True, access=access
    )
    found = find(None, {"PYPELININ_ACCESS": access}, here)
    assert found == Target("tcp://10.0.0.1:1", "PYPELININ_ACCESS", access=access)
    (here / "pypelinin.toml").write_text(f'access = "{access}"\n')
    found = find(None, {}, here)
    assert found == Target(
        "tcp://10.0.0.1:1", f"access in {here / 'pypelinin.toml'}", access=access
    )


def test_an_address_goes_before_that_of_the_access_file(here: Path, access: str) -> None:
    found = find("tcp://127.0.0.1:7", {"PYPELININ_ACCESS": access}, here)
    assert (found.api, found.access) == ("tcp://127.0.0.1:7", access)
    found = find(None, {"PYPELININ_API": "tcp://127.0.0.1:8"}, here, access)
    assert (found.api, found.access) == ("tcp://10.0.0.1:1", access)


def test_a_bad_access_file_is_wrong_use(here: Path, access: str) -> None:
    Path(access).chmod(0o644)
    with pytest.raises(click.UsageError, match="chmod 600"):
        find(None, {}, here, access)


def test_a_way_back_names_the_access_file() -> None:
    assert Reach(None, None, False, "a.toml").flag == " --access a.toml"
