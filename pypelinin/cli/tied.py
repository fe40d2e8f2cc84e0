"""A daemon that another process of ours keeps: `python -m pypelinin.cli.tied ROLE FD`.

FD is a socket to that process. The settings come in as one line of JSON: not as arguments,
which everybody on the machine can read. One line goes out, {"ready": ...} or {"error": ...}.
When the other side closes, the daemon ends at once: even kill -9 of its keeper leaves nothing.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from typing import Any

from pypelinin.errors import PypelininError

SUPERVISOR = "supervisor"
ORPHANED = 75


def main(role: str, descriptor: int) -> int:
    os.set_inheritable(descriptor, False)
    link = socket.socket(fileno=descriptor)
    if role == SUPERVISOR:
        from pypelinin.cli import keep

        return keep.detached(receive(link), lambda document: send(link, document))
    from pypelinin.cli import serve  # while the keeper still starts others

    values = receive(link)
    serve.log_to_stderr(values)
    sys.path[:0] = values["path"]
    try:
        daemon = serve.daemon_of(role, values)
        threading.Thread(target=end_with, args=(link,), name="keeper", daemon=True).start()
        threading.Thread(target=tell, args=(link, daemon), name="ready", daemon=True).start()
        daemon.start()
    except PypelininError as error:
        send(link, {"error": described(error)})
        return 1
    return 0


def tell(link: socket.socket, daemon: Any) -> None:
    """Say that the daemon works; a Router does not before it has its addresses."""
    if hasattr(daemon, "started"):
        daemon.started.wait()
    send(link, {"ready": {"api": daemon.api, "broadcast": daemon.broadcast}})


def end_with(link: socket.socket) -> None:
    """End this process when the keeper is gone."""
    while link.recv(4096):
        pass
    os._exit(ORPHANED)


def send(link: socket.socket, document: dict[str, Any]) -> None:
    try:
        link.sendall(json.dumps(document).encode() + b"\n")
    except OSError:
        pass  # the keeper is gone; `end_with` sees it too


def receive(link: socket.socket) -> dict[str, Any]:
    """The one line the keeper sends."""
    with link.makefile("rb") as stream:
        line = stream.readline()
    if not line:
        sys.exit(ORPHANED)
    document: dict[str, Any] = json.loads(line)
    return document


def described(error: PypelininError) -> dict[str, str]:
    """*error* as data; `supervisor.rebuilt` makes it one again."""
    return {"kind": type(error).__name__, "what": error.what, "remedy": error.remedy}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
