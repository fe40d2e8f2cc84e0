"""What a run is made with."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pypelinin.config import VERSION
from pypelinin.tasks import environment

ROOT = Path(__file__).parents[3]
SCRIPT = """
import json, helper
from pypelinin.tasks import environment
from pypelinin.tasks.environment import described
environment.GIT_S = 60.0  # however slow this machine is
print(json.dumps(described("data", "log")))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "main.py").write_text(SCRIPT)
    (tmp_path / "helper.py").write_text("x = 1\n")
    return tmp_path


def told(project: Path) -> dict[str, object]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(project / "main.py")]
    out = subprocess.check_output(command, text=True, cwd="/", env=environ)
    found: dict[str, object] = json.loads(out)
    return found


def test_the_sources_of_a_project_and_its_packages(project: Path) -> None:
    found = told(project)
    env = found["env"]
    assert isinstance(env, dict)
    assert (found["data_path"], found["log_path"], found["pypelinin"]) == ("data", "log", VERSION)
    assert env["base_dir"] == str(project)
    assert env["mainfile"] == str(project / "main.py")
    md5 = hashlib.md5(b"x = 1\n").hexdigest()
    assert {"filename": "helper.py", "md5hash": md5} in env["sources"]
    assert len(env["sources"]) == 2
    assert any(one.startswith("pytest==") for one in env["dependencies"])
    assert env["repositories"] == []


def test_the_repository_without_a_password_in_its_address(project: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=me", "-c", "user.email=me@localhost"]
        subprocess.run(["git", *identity, *arguments], cwd=project, check=True, capture_output=True)

    git("init", ".")
    git("add", ".")
    git("commit", "-m", "first")
    git("remote", "add", "origin", "https://me:secret@host/project.git")

    def repository() -> dict[str, object]:
        env = told(project)["env"]
        assert isinstance(env, dict)
        (found,) = env["repositories"]
        assert isinstance(found, dict)
        return found

    found = repository()
    assert found["url"] == "https://host/project.git"
    assert len(str(found["commit"])) == 40
    assert found["dirty"] is False
    (project / "helper.py").write_text("x = 2\n")
    assert repository()["dirty"] is True


def test_without_git_there_is_no_repository(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / ".git").mkdir()
    monkeypatch.setenv("PATH", "")
    assert list(environment._repositories(str(project))) == []
