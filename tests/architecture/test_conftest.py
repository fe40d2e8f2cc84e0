"""The session's own rules: skips that nobody allowed, processes and files left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT

SKIPS = """
import pytest

def test_skipped():
    pytest.skip("no such server")

@pytest.mark.xfail
def test_expected_failure():
    assert False
"""

SKIPS_AT_IMPORT = "import pytest\nreason = pytest.importorskip('no_such_module_here')\n"

LEAVES_A_CHILD = """
import subprocess, sys

def test_child(tmp_path):
    global child
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"],
                             stdin=subprocess.PIPE)
"""

LEAVES_AN_ORPHAN = """
import subprocess, sys

ORPHAN = "import time; time.sleep(60)"
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {ORPHAN!r}])"

def test_orphan():
    subprocess.run([sys.executable, "-c", PARENT], check=True)
"""

LEAVES_FILES = """
import os, socket, tempfile
from pathlib import Path

def test_files():
    tempfile.mkdtemp(prefix="pypelinin-")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(os.environ["TMPDIR"] + "/socket")
    clusters = Path(os.environ["XDG_RUNTIME_DIR"], "pypelinin", "clusters")
    clusters.mkdir(parents=True)
    (clusters / "0.json").touch()
"""

LISTENS = """
import socket

def test_port():
    global server
    server = socket.create_server(("127.0.0.1", 0))
"""


@pytest.fixture(params=["-n0", "-n2"])
def processes(request: pytest.FixtureRequest) -> str:
    """How many run the tests; "-n0": the session itself."""
    return str(request.param)


def session(
    folder: Path, source: str, processes: str = "-n0", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run pytest over *source* with this project's conftest and no other setting."""
    ours = (ROOT / "tests" / "conftest.py").read_text()
    hurried = ours.replace("LEFT_BEHIND_GRACE_S = 20.0", "LEFT_BEHIND_GRACE_S = 2.0")
    assert hurried != ours
    (folder / "conftest.py").write_text(hurried)
    (folder / "test_it.py").write_text(source)
    (folder / "pytest.ini").write_text("[pytest]\n")
    kept = {name: value for name, value in os.environ.items() if "PYPELININ" not in name}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", processes, str(folder)],
        env=kept | variables,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("source", [SKIPS, SKIPS_AT_IMPORT], ids=["in a test", "at import"])
def test_an_unexpected_skip_fails(tmp_path: Path, processes: str, source: str) -> None:
    run = session(tmp_path, source, processes, PYPELININ_NO_SKIPS="1")
    assert run.returncode != 0
    assert "unexpected skip" in run.stdout
    assert "no such server" in run.stdout or "no_such_module_here" in run.stdout


def test_an_allowed_skip_passes(tmp_path: Path) -> None:
    allowed = "\nsomething else\ntest_skipped: .*no such server"
    run = session(tmp_path, SKIPS, PYPELININ_NO_SKIPS="1", PYPELININ_ALLOWED_SKIPS=allowed)
    assert run.returncode == 0, run.stdout
    assert "1 skipped, 1 xfailed" in run.stdout


def test_a_skip_passes_where_nothing_was_promised(tmp_path: Path) -> None:
    assert session(tmp_path, SKIPS).returncode == 0


def test_needs_all_is_skipped_with_its_reason(tmp_path: Path) -> None:
    source = "import pytest\n@pytest.mark.needs_all\ndef test_heavy(): pass\n"
    assert "1 skipped" in session(tmp_path, source).stdout
    assert "1 passed" in session(tmp_path, source, PYPELININ_TEST_ALL="1").stdout


def test_what_was_skipped_can_be_run_alone(tmp_path: Path, processes: str) -> None:
    """`.ci/run` runs what the README's command had skipped, and not all of it again."""
    (tmp_path / "test_import.py").write_text(
        "import os, pytest\n"
        "if 'SERVER' not in os.environ: pytest.skip('no server', allow_module_level=True)\n"
        "def test_module(): pass\n"
    )
    source = (
        "import pytest\n@pytest.mark.needs_all\ndef test_heavy(): pass\ndef test_light(): pass\n"
    )
    skipped = str(tmp_path / "skipped")
    assert (
        "1 passed, 2 skipped"
        in session(tmp_path, source, processes, PYPELININ_SKIPS_TO=skipped).stdout
    )
    rest = session(
        tmp_path, source, processes,
        PYPELININ_TESTS_FROM=skipped, PYPELININ_TEST_ALL="1", SERVER="1",
    )  # fmt: skip
    assert "2 passed" in rest.stdout
    assert rest.returncode == 0


@pytest.mark.parametrize("source", [LEAVES_A_CHILD, LEAVES_AN_ORPHAN], ids=["child", "orphan"])
def test_a_process_left_behind_fails_the_session(
    tmp_path: Path, processes: str, source: str
) -> None:
    run = session(tmp_path, source, processes)
    assert run.returncode == 1, run.stdout
    assert "= left behind by tests =" in run.stdout
    assert "started in test_it.py::test_" in run.stdout


@pytest.mark.parametrize(("source", "lines"), [(LEAVES_FILES, 3), (LISTENS, 1)])
def test_files_and_ports_left_behind_fail_the_session(
    tmp_path: Path, processes: str, source: str, lines: int
) -> None:
    run = session(tmp_path, source, processes)
    assert run.returncode == 1, run.stdout
    left = run.stdout.partition("= left behind by tests =")[2].splitlines()
    assert len([line for line in left if line.startswith(("file ", "port "))]) == lines


def test_the_sessions_own_directory_is_removed(tmp_path: Path, processes: str) -> None:
    source = "import os\ndef test_it(): open('place', 'w').write(os.environ['TMPDIR'])\n"
    assert session(tmp_path, source, processes).returncode == 0
    place = Path((tmp_path / "place").read_text())
    assert place.name.startswith("tests-")
    assert not place.exists()
