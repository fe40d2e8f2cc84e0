"""What holds for every test: who may be skipped, and that nothing is left behind.

- A test whose marker asks for something this machine lacks is skipped, saying what is missing.
- `PYPELININ_NO_SKIPS=1` turns every skip into a failure, except those that a regular expression
  in `PYPELININ_ALLOWED_SKIPS` (one a line) finds in `nodeid: reason`. `.ci/run` sets both.
- `PYPELININ_SKIPS_TO` names a file that gets the tests that were skipped, one a line;
  with `PYPELININ_TESTS_FROM` only the tests that such a file names are run.
- A process that tests started and nobody ended fails the session. Children are found by their
  parent, orphans by a variable that every process started from here inherits.
- So does one of our temporary files (`TMPDIR` is the session's own), a socket in it or in
  `XDG_RUNTIME_DIR`, the file about a cluster that runs no more, or a port still listened on.
- Runs do not share this machine by claims.
- An example of Hypothesis may take any time: its deadline of 200 ms fails on a stalled machine.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Callable, Generator
from functools import cache
from glob import glob
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import settings

# Tests that run side by side must not wait for each other's cores; who tests that turns it on.
os.environ.setdefault("PYPELININ_CLAIMS", "off")

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

SESSION_VARIABLE = "PYPELININ_TEST_SESSION"
LEFT_BEHIND_GRACE_S = 20.0
# Helpers of multiprocessing that end together with the interpreter that started them.
ENDS_WITH_US = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")


# --- what a marker needs ----------------------------------------------------------------------


@cache
def missing_for_needs_all() -> str | None:
    if os.environ.get("PYPELININ_TEST_ALL") == "1":
        return None
    return "install 'pypelinin[test-all]' and set PYPELININ_TEST_ALL=1"


@cache
def missing_for_postgres() -> str | None:
    for module in ("sqlalchemy", "psycopg"):
        if importlib.util.find_spec(module) is None:
            return f"module {module} is not installed: install 'pypelinin[sql]'"
    if not (shutil.which("initdb") or glob("/usr/lib/postgresql/*/bin/initdb")):
        return "no PostgreSQL server programs: install the package 'postgresql'"
    return None


@cache
def missing_for_netns() -> str | None:
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        return "no 'ip' or 'unshare': install the packages 'iproute2' and 'util-linux'"
    probe = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return None if probe.returncode == 0 else "this machine refuses network namespaces"


@cache
def missing_for_mounts() -> str | None:
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return "mounting needs root and the package 'mount'"
    if shutil.which("mkfs.ext4") is None or not os.path.exists("/dev/loop-control"):
        return "no 'mkfs.ext4' (install the package 'e2fsprogs') or no loop devices"
    probe = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
        capture_output=True, check=False,
    )  # fmt: skip
    return None if probe.returncode == 0 else "this machine refuses to mount a file system"


@cache
def missing_for_sshd() -> str | None:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    for program in ("ssh", "ssh-keygen", "sshd"):
        if shutil.which(program, path=path) is None:
            return f"no '{program}': install the packages 'openssh-client' and 'openssh-server'"
    return None


@cache
def missing_for_slurm() -> str | None:
    if os.geteuid() != 0:
        return "a Slurm of its own needs root"
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    for program in ("slurmctld", "slurmd", "sbatch"):
        if shutil.which(program, path=path) is None:
            return f"no '{program}': install the packages {SLURM_PACKAGES}"
    return None


@cache
def missing_for_systemd() -> str | None:
    if shutil.which("systemd-analyze") is None:
        return "no 'systemd-analyze': install the package 'systemd'"
    return None


SLURM_PACKAGES = "'slurmctld', 'slurmd', 'slurm-client' and 'slurm-wlm-basic-plugins'"


def missing_for_cgroups() -> str | None:
    from pypelinin.runtime.cgroups import find

    found = find({}, os.getpid())
    return found if isinstance(found, str) else None


MISSING: dict[str, Callable[[], str | None]] = {
    "needs_all": missing_for_needs_all,
    "postgres": missing_for_postgres,
    "netns": missing_for_netns,
    "mounts": missing_for_mounts,
    "sshd": missing_for_sshd,
    "slurm": missing_for_slurm,
    "systemd": missing_for_systemd,
    "cgroups": missing_for_cgroups,
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, missing in MISSING.items():
        if item.get_closest_marker(marker) and (reason := missing()):
            pytest.skip(f"{marker}: {reason}")


# --- skips that nobody expected ---------------------------------------------------------------


def skip_is_allowed(nodeid: str, reason: str) -> bool:
    if os.environ.get("PYPELININ_NO_SKIPS") != "1":
        return True
    allowed = os.environ.get("PYPELININ_ALLOWED_SKIPS", "").splitlines()
    return any(re.search(line, f"{nodeid}: {reason}") for line in allowed if line.strip())


def refuse_unexpected_skip(report: Any) -> None:
    """Turn a skip outside the allow-list into a failure, in place."""
    if report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return
    place = report.longrepr
    reason = place[2] if isinstance(place, tuple) else str(place)
    if not skip_is_allowed(report.nodeid, reason):
        report.outcome = "failed"
        report.longrepr = f"unexpected skip: {report.nodeid}: {reason}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    refuse_unexpected_skip(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    refuse_unexpected_skip(report)
    return report


# --- the rest ---------------------------------------------------------------------------------


class SkipsTo:
    """Writes down which tests (or whole modules, if skipped at import) were skipped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self.found.add(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self.found.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        self.path.write_text("".join(f"{nodeid}\n" for nodeid in sorted(self.found)))


def pytest_configure(config: pytest.Config) -> None:
    path = os.environ.get("PYPELININ_SKIPS_TO")
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(SkipsTo(Path(path)))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    path = os.environ.get("PYPELININ_TESTS_FROM")
    if not path:
        return
    wanted = set(Path(path).read_text().splitlines())
    kept = [item for item in items if {item.nodeid, item.nodeid.partition("::")[0]} & wanted]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


# --- processes that nobody ended --------------------------------------------------------------


LEFT = pytest.StashKey[list[str]]()
PLACE = pytest.StashKey[Path]()
"""The session's own TMPDIR."""


def is_worker(session: pytest.Session) -> bool:
    """Whether this process only runs tests for another one (pytest -n)."""
    return hasattr(session.config, "workerinput")


def pytest_sessionstart(session: pytest.Session) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell began us in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if is_worker(session):
        return  # the mark is that of the whole session
    os.environ[SESSION_VARIABLE] = f"{os.getpid()}-{psutil.Process().create_time()}"
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())  # not below ours
    place = Path(tempfile.mkdtemp(prefix="tests-"))
    (place / "runtime").mkdir(mode=0o700)
    os.environ["TMPDIR"], os.environ["XDG_RUNTIME_DIR"] = str(place), str(place / "runtime")
    tempfile.tempdir = None  # what it had found
    session.config.stash[PLACE] = place


def environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}


def left_behind(session: pytest.Session) -> list[psutil.Process]:
    """Our living children and, of all that carry this session's mark, those nobody will end."""
    me = psutil.Process()
    found = {child.pid: child for child in me.children(recursive=True)}
    mark = os.environ[SESSION_VARIABLE]
    for process in psutil.process_iter() if not is_worker(session) else ():
        if process.pid != me.pid and environment(process).get(SESSION_VARIABLE) == mark:
            found[process.pid] = process
    return [process for process in found.values() if stays(process)]


def stays(process: psutil.Process) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return not any(name in part for part in process.cmdline() for name in ENDS_WITH_US)
    except psutil.NoSuchProcess:
        return False


def describe(process: psutil.Process) -> str:
    try:
        command = " ".join(process.cmdline()) or process.name()
    except psutil.Error:
        command = "ended meanwhile"
    test = environment(process).get("PYTEST_CURRENT_TEST", "unknown test")
    return f"pid {process.pid}: {command} (started in {test})"


def ports_left() -> list[str]:
    """Where this process still listens."""
    found = psutil.Process().net_connections("tcp")
    return [f"port {one.laddr.port}" for one in found if one.status == psutil.CONN_LISTEN]


def files_left(place: Path) -> list[str]:
    """What of ours is still in the session's TMPDIR and XDG_RUNTIME_DIR."""
    found = [path for path in place.rglob("*") if stat.S_ISSOCK(path.lstat().st_mode)]
    kept = f"pypelinin-cache-{os.getuid()}"  # what was read from other hosts stays for a while
    found += (path for path in place.glob("pypelinin*") if path.name != kept)
    found += place.glob("runtime/pypelinin/clusters/*.json")
    return [f"file {path}" for path in found]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    psutil.wait_procs(left_behind(session), timeout=LEFT_BEHIND_GRACE_S)
    left = left_behind(session)
    lines = [describe(process) for process in left]
    for process in left:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    lines += ports_left()
    if is_worker(session):
        session.config.workeroutput["left behind"] = lines
        return
    place = session.config.stash[PLACE]
    lines += files_left(place)
    shutil.rmtree(place, ignore_errors=True)
    lines = session.config.stash.setdefault(LEFT, []) + lines
    session.config.stash[LEFT] = lines
    if lines:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A process that ran tests for us ended (pytest -n)."""
    lines = getattr(node, "workeroutput", {}).get("left behind", [])
    node.config.stash.setdefault(LEFT, []).extend(lines)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if lines := config.stash.get(LEFT, []):
        terminalreporter.section("left behind by tests", red=True)
        for line in lines:
            terminalreporter.line(line)
