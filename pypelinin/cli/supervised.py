"""A daemon that another process of ours keeps: `python -m pypelinin.cli.supervised ROLE FD`.

FD is a socket to that process. The settings come in as one line of JSON: not as arguments,
which everybody on the machine can read. One line goes out, {"ready": ...} or {"error": ...}.
When the other side closes, the daemon ends at once: even kill -9 of its keeper leaves nothing.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from functools import partial
from typing import Any

from pypelinin.cli.supervision import described, receive, send
from pypelinin.errors import PypelininError

ORPHANED = 75


def main(role: str, descriptor: int) -> int:
    os.set_inheritable(descriptor, False)
    link = socket.socket(fileno=descriptor)
    if role == "supervisor":
        from pypelinin.cli import keeper

        values = receive(link)
        return ORPHANED if values is None else keeper.detached(values, partial(send, link))
    from pypelinin.cli import serve  # before the settings come: the keeper starts others

    if (values := receive(link)) is None:
        return ORPHANED
    serve.log_to_stderr(values)
    sys.path[:0] = values["path"]
    try:
        daemon = serve.daemon_of(role, values)
        threading.Thread(target=end_with, args=(link,), name="keeper", daemon=True).start()
        threading.Thread(target=tell, args=(link, daemon), name="ready", daemon=True).start()
        serve.start(daemon)
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
    with contextlib.suppress(OSError):
        while link.recv(4096):
            pass
    os._exit(ORPHANED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
