"""The Router's door when it has keys: who is behind a message, and may he send it?

The Authenticator decides who connects; here each message is judged again by the key that its
connection was made with, so a revoked key ends at once, whatever is still open.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import zmq

from pypelinin.cluster.roles import BROKER, act_of, is_allowed, not_valid, wrong_role
from pypelinin.runtime.audit import Audit
from pypelinin.runtime.authenticator import Authenticator, Context, secure, self_test
from pypelinin.runtime.keys import Holder, KeyRing, fingerprint, ring_of
from pypelinin.wire.codec import Envelope, Record
from pypelinin.wire.definitions import Refusal
from pypelinin.wire.messages import (
    Cancel,
    Configuration,
    DrainNodes,
    PauseRuns,
    PipelineAdded,
    RetryRun,
)

AUDIT_FILE = "audit.jsonl"
PEERS_MAX = 100_000
PAST_MAX = 1_000
NAMED_MAX = 100
"""Runs or nodes in one line of the audit log."""
_ENDED = ""
"""In place of the key of a peer that came with another role: it has to connect anew."""
Say = Callable[[str, str], object]


class Door:
    """*say(level, text)* is for the Router's log; *changed* is called from another thread."""

    def __init__(self, ring: KeyRing, audit: Audit, say: Say) -> None:
        self.ring = ring
        self.changed: Callable[[], object] = bool
        self._audit = audit
        self._say = say
        self._authenticator: Authenticator | None = None
        self._context: Context | None = None
        self._told_problems: dict[str, str] = {}
        self._holders = ring.holders
        self.lost_somebody = False
        """Whether a key ended; for whoever closes what it still hears, and takes note."""
        self._peers: dict[bytes, str] = {}
        """The key that the last message of each peer came with."""
        self._told_audit = ""
        self._past: dict[str, Holder] = {}
        """Who had keys that are valid no more."""
        self._tests = False
        self._tell_problems()

    def open(self, context: Context) -> None:
        """Answer for the sockets of *context* from now on."""
        self._context = context
        self._authenticator = Authenticator(
            context, self.ring, self._knocked, lambda: self.changed()
        )

    def secure(self, socket: zmq.Socket[bytes]) -> None:
        """Close *socket*, not bound yet, to all that have no key."""
        secure(socket, self.ring)

    def self_test(self, address: str) -> None:
        """Raises ClusterError if somebody without a key gets in."""
        self._tests = True
        self_test(address, self.ring)
        self._tests = False

    # --- messages ----------------------------------------------------------------------

    def holder(self, peer: bytes, frame: Any) -> Holder | Refusal:
        """Who sent a message, by a frame of it; or why nothing of him is taken."""
        try:
            public = str(frame.get("User-Id"))
        except zmq.ZMQError:
            public = ""
        known = self._peers.get(peer)
        if known != public:
            if known is None and len(self._peers) >= PEERS_MAX:
                del self._peers[next(iter(self._peers))]
            self._peers[peer] = public
        found = self.ring.holders.get(public)
        if known == _ENDED:
            self._peers[peer] = _ENDED
        elif found is not None:
            return found
        was = self._past.get(public) or self._holders.get(public)
        self._audit.refused(
            "refused message", (public,), why="key not valid", **self._who(public, was)
        )
        return not_valid(was.name if was else fingerprint(public))

    def judge(self, holder: Holder, message: Record) -> Refusal | None:
        """Why *holder* may not send *message*, or None."""
        kind = type(message)
        if is_allowed(holder.role, kind):
            if act := act_of(kind):
                self._audit.note(act, **_named(holder), **_facts(message))
            return None
        self._audit.refused(
            "refused message", (holder.fingerprint, kind.__name__), why="role",
            message=kind.__name__, **_named(holder),
        )  # fmt: skip
        return wrong_role(holder.name, holder.role, kind)

    def may_hear(self, peer: bytes, message: Record) -> bool:
        """Whether *peer* may still be told something; accepted runs are noted here."""
        public = self._peers.get(peer, "")
        holder = self.ring.holders.get(public)
        if holder is None:
            return False
        if isinstance(message, PipelineAdded):
            for added in message.results:
                facts = {"refused": added.refusal.what} if added.refusal else {}
                self._audit.note("submit", run=added.run, **_named(holder), **facts)
        return True

    def told(self, peer: bytes, envelope: Envelope) -> Envelope:
        """As *peer* may have it: settings, perhaps with a store's password, are for Brokers."""
        if not isinstance(envelope.message, Configuration):
            return envelope
        holder = self.ring.holders.get(self._peers.get(peer, ""))
        if holder is not None and holder.role == BROKER:
            return envelope
        return replace(envelope, message=replace(envelope.message, values={}))

    # --- keys --------------------------------------------------------------------------

    def ended(self) -> Iterator[tuple[bytes, Refusal]]:
        """Peers whose key is not valid any more since the last call, and what they are told."""
        now = self.ring.holders
        before, self._holders = self._holders, now
        if now is before:
            self._look_after()
            return
        for public in sorted(now.keys() - before.keys()):
            self._audit.note("key added", **_named(now[public]))
        for public in sorted(before.keys() - now.keys()):
            self._audit.note("key removed", **_named(before[public]))
        for public in sorted(now.keys() & before.keys()):
            if now[public] != before[public]:
                self._audit.note("key changed", **_named(now[public]))
        self._say("info", f"The keys changed: there are {len(now)}.")
        self._look_after()
        gone = {
            public: was.name
            for public, was in before.items()
            if public not in now or now[public].role != was.role  # it may hear too much
        }
        self.lost_somebody = bool(gone)
        for public in gone:
            self._past[public] = before[public]
        while len(self._past) > PAST_MAX:
            del self._past[next(iter(self._past))]
        for peer, public in list(self._peers.items()):
            if public in gone:
                if public in now:
                    self._peers[peer] = _ENDED
                yield peer, not_valid(gone[public])

    def _look_after(self) -> None:
        """A dead Authenticator lets nobody in: start another one."""
        self._tell_problems()
        if self._audit.problem != self._told_audit:
            self._told_audit = self._audit.problem
            if self._told_audit:
                self._say("error", f"The audit log: {self._told_audit}.")
        if self._authenticator is not None and not self._authenticator.alive and self._context:
            self._authenticator.close()
            with contextlib.suppress(zmq.ZMQError):  # its socket is not quite gone: next time
                self.open(self._context)
                text = "What checks the keys had ended; nobody new came in. Started again."
                self._say("error", text)

    def _tell_problems(self) -> None:
        problems = dict(self.ring.problems)
        for name, why in problems.items():
            if self._told_problems.get(name) != why:
                self._say("warning", f"The key file {name} is left out: {why}")
                self._audit.note("key left out", file=name, why=why)
        self._told_problems = problems

    def _knocked(self, holder: Holder | None, public: str, address: str) -> None:
        if self._tests:
            return
        if holder is None:
            was = self._past.get(public)
            facts = {"address": address, **self._who(public, was)}
            by = (was.fingerprint if was else "", address)  # strangers can make up any number
            self._audit.refused("refused connection", by, **facts)
        else:
            self._audit.note("connection", address=address, **_named(holder))

    @staticmethod
    def _who(public: str, was: Holder | None) -> dict[str, str]:
        return _named(was) if was else {"fingerprint": fingerprint(public)}

    def stop_authenticator(self) -> None:
        """From now on nobody new gets in."""
        if self._authenticator is not None:
            self._authenticator.close()

    def close(self) -> None:
        """Call before the context ends."""
        self.stop_authenticator()
        self._authenticator = None
        self._audit.close()


def _named(holder: Holder) -> dict[str, str]:
    return {"key": holder.name, "role": holder.role, "fingerprint": holder.fingerprint}


def _facts(message: Record) -> dict[str, object]:
    match message:
        case Cancel(runs=runs):
            return {"runs": list(runs[:NAMED_MAX])}
        case PauseRuns(runs=runs, paused=paused):
            return {"runs": list(runs[:NAMED_MAX]), "paused": paused}
        case DrainNodes(nodes=nodes, why=why):
            return {"nodes": list(nodes[:NAMED_MAX]), "why": why}
        case RetryRun(run=run, new=new):
            return {"run": run, "new": new}
    return {name: getattr(message, name) for name in ("run", "name") if hasattr(message, name)}


def door_of(keys: str, journal: str | os.PathLike[str], say: Say) -> Door | None:
    """The door of the Router of *journal*; None without keys. Raises DefinitionError."""
    ring = ring_of(keys, journal)
    return None if ring is None else Door(ring, Audit(Path(journal, AUDIT_FILE)), say)
