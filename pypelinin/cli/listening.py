"""`pypelinin logs --listen`: what runs of `pypelinin.incremental` log, as it comes."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import click

from pypelinin.errors import DefinitionError
from pypelinin.incremental.log_sending import DATAGRAM_BYTES_MAX, decoded


def listen(address: str, as_json: bool) -> None:
    """Print records until Ctrl-C. Raises DefinitionError for an address that is none, OSError if
    it cannot be had."""
    host, port = place_of(address)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard:
        heard.bind((host, port))
        click.echo(f"Listening at {host}:{heard.getsockname()[1]}; Ctrl-C ends it.", err=True)
        try:
            for line in lines(heard, as_json):
                click.echo(line)
        except KeyboardInterrupt:
            return


def place_of(address: str) -> tuple[str, int]:
    """(host, port) of HOST:PORT, or of a port of this machine alone."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or int(port) > 65_535:
        raise DefinitionError(f"--listen: {address!r} is no address.", remedy="Write HOST:PORT.")
    return host or "localhost", int(port)


def lines(heard: socket.socket, as_json: bool) -> Iterator[str]:
    """One for each record; what is none of ours is left out."""
    while True:
        datagram = heard.recv(DATAGRAM_BYTES_MAX)
        record = decoded(datagram)
        if record is None:
            continue
        if as_json:
            yield datagram.decode()
            continue
        when = time.strftime("%H:%M:%S", time.localtime(record.time))
        text = f"{when} {record.level:7} {record.host}/{record.pid} {record.place} {record.text}"
        yield "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)
