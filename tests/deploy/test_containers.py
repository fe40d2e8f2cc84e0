"""Containerfile and Compose file: linted, in step with the command line, never built here."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.commands import check_command, check_environment, size
from tests.integration.cli.commands import ROOT

CONTAINERFILE = ROOT / "deploy" / "Containerfile"
COMPOSE = ROOT / "deploy" / "compose.yaml"
ROLES = {"router", "pipeliner", "broker"}


def instructions() -> list[tuple[str, str]]:
    """(instruction, the rest) of each line of the Containerfile, continued lines joined."""
    joined = re.sub(r"\\\n\s*", " ", CONTAINERFILE.read_text())
    lines = [line for line in joined.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


@pytest.mark.needs_all
def test_the_containerfile_passes_hadolint(tmp_path: Path) -> None:
    program = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert program is not None
    done = subprocess.run([program, str(CONTAINERFILE)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    bad = tmp_path / "Containerfile"
    bad.write_text(CONTAINERFILE.read_text().replace("WORKDIR /source", "WORKDIR source"))
    done = subprocess.run([program, str(bad)], capture_output=True, text=True, timeout=60)
    assert "DL3000" in done.stdout


def test_the_image_runs_as_nobody_in_particular_and_starts_us() -> None:
    found = dict(instructions())  # the last of each
    assert found["USER"] == "10001:10001"
    assert found["ENTRYPOINT"] == '["pypelinin"]'
    assert found["STOPSIGNAL"] == "SIGTERM"
    words = shlex.split(found["ENV"])
    check_environment(dict(word.split("=", 1) for word in words))


def test_what_it_copies_exists() -> None:
    copied = [rest.split()[:-1] for word, rest in instructions() if word == "COPY"]
    names = [name for words in copied for name in words if not words[0].startswith("--from")]
    assert "pypelinin" in names
    assert all((ROOT / name).exists() for name in names)


@pytest.fixture
def compose() -> dict[str, Any]:
    import yaml

    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return found


@pytest.mark.needs_all
def test_compose_knows_every_word_of_it(compose: dict[str, Any]) -> None:
    import compose_spec
    import yaml

    parsed = compose_spec.PyCompose.from_yaml(yaml.safe_dump(compose))
    assert set(parsed.service_names()) == ROLES
    compose["services"]["router"]["helthcheck"] = {}
    with pytest.raises(ValueError, match="helthcheck"):
        compose_spec.PyCompose.from_yaml(yaml.safe_dump(compose))


@pytest.mark.needs_all
def test_each_service_starts_a_daemon_with_settings_that_exist(compose: dict[str, Any]) -> None:
    for role, service in compose["services"].items():
        assert service["command"] == [role]
        check_command(["pypelinin", *service["command"]])
        check_environment(service["environment"])
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    router = compose["services"]["router"]
    check_command(router["healthcheck"]["test"][1:])
    assert all(port.startswith("127.0.0.1:") for port in router["ports"])
    assert "journal:/var/lib/pypelinin" in router["volumes"]


@pytest.mark.needs_all
def test_a_broker_offers_less_memory_than_its_container_has(compose: dict[str, Any]) -> None:
    broker = compose["services"]["broker"]
    limit = broker["deploy"]["resources"]["limits"]
    assert size(broker["environment"]["PYPELININ_MEMORY"]) < size(limit["memory"])
    assert broker["environment"]["PYPELININ_SLOTS"] == limit["cpus"]


def test_the_build_of_compose_is_this_project(tmp_path: Path) -> None:
    text = COMPOSE.read_text()
    assert "context: .." in text
    (name,) = re.findall(r"dockerfile: (\S+)", text)
    assert ROOT / name == CONTAINERFILE
