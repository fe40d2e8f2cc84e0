"""A cluster of this machine for as long as a `with` block: Router, Pipeliner and Broker."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from pypelinin.cli.hosts import Host, with_hosts
from pypelinin.cli.supervisor import ROLES, FarRoles, Supervisor, uninterrupted
from pypelinin.config import DEFAULTS

GRACE_S = 0.3
"""What still runs at the end of the block has that long: nobody waits for it any more."""
STOPPED_S = 15.0
FREE_PORT = "tcp://127.0.0.1:0"


@dataclass(frozen=True, slots=True)
class LocalNode:
    name: str
    slots: int


class LocalCluster:
    """Three daemons on free loopback ports, gone when the block ends, whatever the way out.

    *workers* are modules, *store* is "module:Class", made with *store_configuration*; *slots*
    defaults to the CPUs. Without a *journal* directory nothing outlives the block. *path* goes
    before `sys.path` where the workers are looked for. What workers print is dropped unless
    *show_output*. With *hosts* there is a Broker on each of them, started by *ssh*, and here only
    if that is one of them; it is enough if one can be used, unless *all_hosts*.

    Inside the block `api`, `broadcast`, `access` (if it has keys) and `nodes` say what runs. A
    daemon that dies is started again. Entering raises PypelininError if a daemon cannot start, and
    says why.
    """

    def __init__(
        self,
        workers: Sequence[str],
        store: str | None = None,
        store_configuration: Mapping[str, Any] | None = None,
        slots: int | None = None,
        journal: str | Path | None = None,
        *,
        path: Sequence[str] = (),
        show_output: bool = False,
        hosts: Sequence[Host] = (),
        ssh: Sequence[str] = ("ssh",),
        all_hosts: bool = False,
    ) -> None:
        self.api = self.broadcast = self.access = ""
        self.nodes: list[LocalNode] = []
        self._journal = journal
        self._show_output = show_output
        self._all_hosts = all_hosts
        self._values: dict[str, Any] = {
            "roles": list(ROLES),
            **DEFAULTS,
            "api": FREE_PORT,
            "broadcast": FREE_PORT,
            "workers": list(workers),
            "store": store or "",
            "store_configuration": dict(store_configuration or {}),
            "slots": slots or 0,
            "synchronous": "normal" if journal is None else "full",
            "monitoring_interval": 0,
            "log_level": "error" if show_output else "info",
            "log_bytes": 0 if show_output else DEFAULTS["log_bytes"],
            "path": list(path),
        }
        if hosts:
            self._values = with_hosts({**self._values, "ssh": list(ssh)}, hosts)
        self._stack = contextlib.ExitStack()
        self._supervisor: Supervisor | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> LocalCluster:
        with contextlib.ExitStack() as stack:
            scratch = Path(tempfile.mkdtemp(prefix="pypelinin-"))
            stack.callback(shutil.rmtree, scratch, ignore_errors=True)
            journal = scratch / "journal" if self._journal is None else Path(self._journal)
            self._values["journal"] = str(journal.absolute())
            output = stack.enter_context(self._output(scratch))
            say = _say if self._show_output else bool
            supervisor = self._supervisor = Supervisor(
                self._values, self._values["roles"], output=output, say=say, far=self._far(output)
            )  # fmt: skip
            stack.callback(self._stop)
            supervisor.start()
            with uninterrupted():  # see wire.codec: dataclasses run texts when they are imported
                from pypelinin.cli.readiness import brokers  # the daemons start meanwhile
            joined = brokers(supervisor, self._all_hosts)
            self.nodes = [LocalNode(node.name, node.slots) for node in joined]
            self.api, self.broadcast = supervisor.api, supervisor.broadcast
            self.access = supervisor.access
            self._thread = threading.Thread(target=supervisor.watch, name="keeper", daemon=True)
            self._thread.start()
            self._stack = stack.pop_all()
        return self

    def _output(self, scratch: Path) -> contextlib.AbstractContextManager[IO[Any]]:
        if self._show_output:
            return contextlib.nullcontext(sys.stderr)
        return open(scratch / "log", "ab")

    def _far(self, output: IO[Any]) -> FarRoles:
        """What starts the Brokers on other hosts; what they say goes where ours say it."""
        if not self._values.get("hosts"):
            return {}
        from pypelinin.cli.keeper import far_brokers

        def tell(line: str) -> None:
            with contextlib.suppress(OSError, ValueError):  # a full disk, or closed at the end
                output.write(line + "\n" if self._show_output else f"{line}\n".encode())
                output.flush()

        return far_brokers(self._values, tell)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _stop(self) -> None:
        """Let the Broker finish for a moment, then end all."""
        assert self._supervisor is not None
        if self._thread is None or self._thread.ident is None:  # or interrupted in its start
            self._supervisor.close()
            return
        try:
            for patience_s in (GRACE_S, STOPPED_S, STOPPED_S):
                self._supervisor.ask_stop()
                self._thread.join(patience_s)
                if not self._thread.is_alive():
                    return
        except BaseException:  # a second Ctrl-C: at once, but nothing is left behind
            for _ in range(3):
                self._supervisor.ask_stop()
            self._thread.join(STOPPED_S)
            raise


def _say(line: str) -> None:
    print(f"pypelinin: {line}", file=sys.stderr, flush=True)
