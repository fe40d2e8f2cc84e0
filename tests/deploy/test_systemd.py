"""The units are what systemd understands, as strict as promised, and start what exists."""

from __future__ import annotations

import configparser
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.deploy.commands import check_command
from tests.integration.cli.commands import ROOT

UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
INSTALLED = "/opt/pypelinin/bin/pypelinin"
# Role -> what `systemd-analyze security` may find, in tenths: 0 is perfect, 96 is nothing done.
EXPOSURE_MAX = {"router": 20, "pipeliner": 20, "broker": 60}


class _Unit(configparser.RawConfigParser):
    """Keys may repeat; the last one is enough here."""

    def __init__(self, path: Path) -> None:
        super().__init__(strict=False, delimiters=("=",), interpolation=None)
        self.read_string(path.read_text())

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def role(path: Path) -> str:
    return path.stem.removeprefix("pypelinin-")


@pytest.fixture(params=UNITS, ids=role)
def unit(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


@pytest.fixture
def installed(unit: Path, tmp_path: Path) -> Path:
    """The unit with a program that exists in place of the installed one."""
    program = tmp_path / "pypelinin"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = unit.read_text()
    assert INSTALLED in text
    path = tmp_path / unit.name
    path.write_text(text.replace(INSTALLED, str(program)))
    return path


def analyze(*words: str) -> str:
    """What systemd-analyze says; it has to be content."""
    done = subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_there_is_one_for_each_daemon() -> None:
    assert {role(path) for path in UNITS} == set(EXPOSURE_MAX)


@pytest.mark.systemd
def test_systemd_understands_all_of_it(installed: Path) -> None:
    said = analyze("verify", str(installed))
    assert installed.name not in said, said


@pytest.mark.systemd
def test_a_line_that_systemd_does_not_know_is_seen(installed: Path) -> None:
    installed.write_text(installed.read_text().replace("KillMode=mixed", "KillMood=mixed"))
    assert "KillMood" in analyze("verify", str(installed))


@pytest.mark.systemd
def test_it_is_as_strict_as_promised(installed: Path) -> None:
    limit = EXPOSURE_MAX[role(installed)]
    analyze("security", "--offline=yes", "--no-pager", f"--threshold={limit}", str(installed))


@pytest.mark.systemd
def test_a_unit_that_is_not_strict_is_seen(installed: Path) -> None:
    lines = installed.read_text().splitlines()
    weak = [line for line in lines if not line.startswith(("Protect", "Capability", "Restrict"))]
    installed.write_text("\n".join(weak))
    limit = EXPOSURE_MAX[role(installed)]
    with pytest.raises(AssertionError, match="exposure level"):
        analyze("security", "--offline=yes", "--no-pager", f"--threshold={limit}", str(installed))


def test_it_starts_a_command_that_exists(unit: Path) -> None:
    program, verb, *options = shlex.split(_Unit(unit)["Service"]["ExecStart"])
    assert (program, verb) == (INSTALLED, role(unit))
    check_command(["pypelinin", verb, *options])


def test_it_ends_gently_and_survives_what_its_jobs_do(unit: Path) -> None:
    service = _Unit(unit)["Service"]
    assert (service["KillMode"], service["OOMPolicy"]) == ("mixed", "continue")
    assert (service["Type"], service["Restart"]) == ("exec", "on-failure")
    assert ("Delegate" in service) == (role(unit) == "broker")


def test_it_opens_with_what_it_is_for_and_what_to_edit(unit: Path) -> None:
    lines = unit.read_text().splitlines()
    opening = "\n".join(lines[: lines.index("[Unit]")])
    assert opening.startswith("# ")
    assert "\n# Edit: " in opening
