"""Asking a Router: the way to it, requests with deadlines, and the handshake."""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar
from urllib.parse import urlsplit

from pypelinin.client.verdicts import refusal_error
from pypelinin.cluster.client import Client, Expired
from pypelinin.cluster.events import Send
from pypelinin.cluster.member import Reconnect
from pypelinin.config import DEFAULT_API, VERSION, Limits
from pypelinin.errors import ClusterError, DefinitionError, Unreachable
from pypelinin.machine import Command, Event
from pypelinin.runtime.access import Access, AccessSpec, named
from pypelinin.runtime.functions import Functions
from pypelinin.runtime.places import nearest_cluster
from pypelinin.runtime.sockets import PeerSocket
from pypelinin.runtime.value_store import Values
from pypelinin.wire import messages
from pypelinin.wire.codec import Envelope, Record
from pypelinin.wire.definitions import NO_PLACE

R = TypeVar("R", bound=Record)


def way_to(api: str | None, access: AccessSpec) -> tuple[str, Access | None]:
    """The Router that is meant, and the key for it.

    *api*, else that of *access*, else of the environment, else the cluster that `pypelinin up`
    keeps running for this user, by its own key.
    """
    key = named(access)
    if known := api or (access and key and key.api):
        return known, key
    if known := os.environ.get("PYPELININ_API") or (key and key.api):
        return known, key
    found = nearest_cluster(Path.cwd())
    if found is None:
        return DEFAULT_API, key
    return found.api, key or named(found.access)


class Port(Protocol):
    """A way to a Router: a socket, or the machines of an embedded run."""

    def send(self, envelope: Envelope) -> None: ...

    def wait(self, timeout_ms: int) -> bool:
        """Until there is something to receive, or the time is over."""
        ...

    def receive(self) -> Iterator[Event]: ...

    def flush(self) -> None: ...

    def reconnect(self) -> None: ...

    def let_wake(self) -> None:
        """From now on `wake` ends a `wait`."""
        ...

    def wake(self) -> None:
        """From any thread."""
        ...

    def close(self) -> None: ...


class Requests:
    """A client of one Router; see PipelineManager for the arguments."""

    def __init__(
        self,
        api: str | None = None,
        broadcast: str | None = None,
        deadline_s: float | None = None,
        limits: Limits | None = None,
        port: Port | None = None,
        access: AccessSpec = None,
    ) -> None:
        self.api, self._access = ("", None) if port else way_to(api, access)
        self.broadcast = broadcast
        self.limits = limits or Limits()
        self._deadline_s = self.limits.client_deadline_s if deadline_s is None else deadline_s
        self._submitter = _submitter()
        self._client = Client(self.limits)
        self._functions: Functions | None = None
        self._peer: Port = port or PeerSocket(self.api, self._access)
        self._configuration: messages.Configuration | None = None
        self._values: Values | None = None

    @property
    def submitter(self) -> str:
        """Who the runs of this manager belong to."""
        return self._submitter

    def configuration(self) -> messages.Configuration:
        """What the Router tells everybody: cluster id, version, broadcast address, values."""
        return self._handshake()

    @property
    def values(self) -> Values:
        """How large values get to the cluster and back."""
        if self._values is None:
            host = urlsplit(self.api).hostname or "127.0.0.1"
            self._values = Values(self._handshake().place or NO_PLACE, host, self._access or "")
        return self._values

    def close(self) -> None:
        """Let go of the way to the Router; what was started goes on."""
        self._peer.close()
        if self._values is not None:
            self._values.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _handshake(self) -> messages.Configuration:
        if self._configuration is None:
            found = self._ask(
                lambda n: messages.GetConfiguration(n, "client", VERSION, 0, time.time()),
                messages.Configuration,
            )
            given = self.broadcast
            if given is not None and not _same_address(given, found.broadcast):
                raise DefinitionError(
                    f"The Router at {self.api} broadcasts at {found.broadcast}, not at {given}.",
                    remedy="Leave broadcast out; it is learned from the Router.",
                )
            self._configuration = found
        return self._configuration

    def _calls(self) -> Functions:
        if self._functions is None:
            self._functions = Functions()
        return self._functions

    def _send(self, make: Callable[[int], Record]) -> int:
        number, commands = self._client.request(make, time.monotonic(), self._deadline_s)
        self._perform(commands)
        return number

    def _ask(self, make: Callable[[int], Record], kind: type[R]) -> R:
        number = self._send(make)
        self._drive(lambda: number in self._client.answers, None)
        return self._taken(number, kind)

    def _taken(self, number: int, kind: type[R]) -> R:
        answer = self._client.answers.pop(number)
        if isinstance(answer, messages.Refused):
            raise refusal_error(answer.refusal)
        if isinstance(answer, Expired):
            raise self._unreachable(answer.waited_s)
        if not isinstance(answer, kind):
            raise ClusterError(f"The Router answered with {type(answer).__name__}.")
        return answer

    def _unreachable(self, waited_s: float) -> Unreachable:
        return Unreachable(
            f"No Router answered at {self.api} for {waited_s:.0f} s.",
            remedy="Is it running (`pypelinin up`), and is the address right (PYPELININ_API)?",
        )

    def _perform(self, commands: Iterable[Command]) -> None:
        for command in commands:
            if isinstance(command, Send):
                self._peer.send(command.envelope)
            elif isinstance(command, Reconnect):
                self._peer.reconnect()

    def _drive(
        self, done: Callable[[], bool], until: float | None, poll_s: float | None = None
    ) -> None:
        """Send, receive and keep time until *done*, or the moment *until* has come."""
        silent_since = time.monotonic()
        timeout_ms = 0
        while True:
            ready = self._peer.wait(timeout_ms)
            now = time.monotonic()
            events = list(self._peer.receive()) if ready else []
            commands = self._client.handle(events, now)
            if poll_s is not None:
                commands += self._client.poll(now, poll_s)
            self._perform(commands)
            self._peer.flush()
            self._take_news()
            if poll_s is not None and (refusal := self._client.refusal) is not None:
                raise refusal_error(refusal)
            if done() or (until is not None and now >= until):
                return
            silence = now - max(self._client.heard_at, silent_since)
            if poll_s is not None and silence > self.limits.client_silence_s:
                raise self._unreachable(silence)
            times = [now + (poll_s or 1.0)]
            times += [t for t in (until, self._client.deadline()) if t is not None]
            timeout_ms = int(max(0.0, min(times) - now) * 1000) + 1

    def _take_news(self) -> None:
        """News of finished runs, for who follows some."""


def _submitter() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a uid without an entry, as in some containers
        return f"{os.getuid()}@{socket.gethostname()}"


def _same_address(given: str, told: str) -> bool:
    """Ports decide: a Router bound to all interfaces tells 0.0.0.0."""
    return given.rsplit(":", 1)[-1] == told.rsplit(":", 1)[-1]
