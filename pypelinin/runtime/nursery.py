"""The nursery: a small process that forks slots on request, watches their memory and ends them.

Run as `python -m pypelinin.runtime.nursery FD DIRECTORY`: one thread, no ZeroMQ, nothing of the
user's, so a fork is safe and cheap. It tells the Broker of each fork and each death, and
ends with the Broker, or its end of the socket; first all that is below it is ended (its slots
also end with it, PDEATHSIG), and DIRECTORY, if it is not empty, is removed.

Above each slot stands a *keeper*, a process that does nothing but adopt what the slot's jobs
leave behind, so that it is known whose it is; it ends as its slot did, when all of that has
ended. To the Broker the keeper's number is the slot's. A slot with a limit has a control group of
its own besides, where that is possible: the keeper is not in it.

Requests: ["fork", slot] with the descriptors of the slot's socket and token pipe, and of the
files that its jobs print to, if they do,
["limit", pid, bytes] (0: none any more), ["look", pid], ["end", pid, gently].
Answers: ["forked", slot, pid] or ["not forked", slot, why], ["limited", pid, bytes] when that is
in force (what is there now does not count), ["memory", pid, peak] before the
slot that used too much is ended, ["looked", pid, peak] (0: it does not use too much),
["undead", pid, count] if something would not die,
["exited", pid, wait status, CPU seconds, peak memory in bytes] of all that ran there.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import select
import shutil
import signal
import socket
import sys
import time
from typing import Any, NoReturn

import msgpack

from pypelinin.runtime import child
from pypelinin.runtime.cgroups import Groups, Leaf, find
from pypelinin.runtime.trees import (
    adopt_orphans,
    be_told_of_the_parents_end,
    children,
    descendants,
    die_with_parent,
    kill_all,
    proportional,
    reap,
    resident,
)

POLL_S, HURRY_S = 0.02, 0.005
"""How often is looked, and if what is used rises so fast that the limit is near."""
BURY_S = 0.05
END_S = 5.0
REMOVE_S = 2.0
DYING_S = 60.0
"""What was killed and is still there after so long will not die (it hangs in the kernel)."""


class Limit:
    """What the tree of one slot may use more than it did when its jobs began."""

    def __init__(self, keeper: int, most: int, leaf: Leaf | None) -> None:
        self.keeper = keeper
        self.most = most
        self.leaf = leaf
        tree = descendants(children(keeper))
        self.resident, self.proportional = resident(tree), proportional(tree)
        self.used = self.peak = 0
        self.is_near = False

    def was_broken(self) -> bool:
        """Whether they hit the limit of the kernel, as they were faster than we look."""
        if self.leaf is None or not self.leaf.is_broken:
            return False
        self.peak = max(self.peak, self.leaf.peak)
        return True

    def is_broken(self) -> bool:
        """Whether they use more; what they share counts once."""
        if self.was_broken():
            return True
        tree = descendants(children(self.keeper))
        used = resident(tree) - self.resident
        if used > self.most:
            used = proportional(tree) - self.proportional
        self.is_near = used + 2 * (used - self.used) > self.most
        self.used, self.peak = used, max(self.peak, used)
        return used > self.most


class Nursery:
    def __init__(self, broker: socket.socket) -> None:
        self.broker = broker
        self.woken, self._wake = socket.socketpair()
        self.woken.setblocking(False)
        self._wake.setblocking(False)
        self.keepers: dict[int, None] = {}
        self.limits: dict[int, Limit] = {}
        self.leaves: dict[int, Leaf] = {}
        """Control groups of slots, by their keeper."""
        self.groups: Groups | None = None
        self._look_at = 0.0
        self._cpu_s, self._peak = 0.0, 0
        """What the last processes that lost their keeper had used."""
        self._dying: dict[int, float] = {}
        """What was killed and is still there -> until when that is nothing strange."""

    def serve(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the Broker decides when we end
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake.fileno())
        adopt_orphans()  # of keepers that were killed
        parent = os.getppid()  # it is still there: until now we die with it
        be_told_of_the_parents_end()
        self.find_groups()
        gc.freeze()
        poller = select.poll()
        poller.register(self.broker, select.POLLIN)
        poller.register(self.woken, select.POLLIN)
        while True:
            for fd, _ in poller.poll(self._wait_ms()):
                if fd == self.woken.fileno():
                    self.reap()
                elif not self.request():
                    return
            if os.getppid() != parent:
                return
            if self.limits and time.monotonic() >= self._look_at:
                self.look()
            if self._dying:
                self.mourn()

    def find_groups(self) -> None:
        found = find(os.environ, os.getppid())
        if isinstance(found, Groups):
            self.groups = found
            found.sweep()

    def close(self) -> None:
        """End all that is below us."""
        for leaf in self.leaves.values():
            leaf.kill()
        kill_all(children(os.getpid()))
        if self.groups is not None:
            for leaf in self.leaves.values():
                self.groups.discard(leaf)
            self.groups.close(REMOVE_S)

    def _wait_ms(self) -> int | None:
        if not self.limits:
            return 1000 if self._dying else None
        return max(0, int((self._look_at - time.monotonic()) * 1000))

    def tell(self, *message: object) -> None:
        self.broker.send(msgpack.packb(message))

    def request(self) -> bool:
        data, fds, _, _ = socket.recv_fds(self.broker, 65536, 4)
        if not data:
            return False
        kind, number, *more = msgpack.unpackb(data)
        if kind == "fork":
            self.fork(number, fds)
        elif number in self.keepers:  # it may have ended meanwhile
            if kind == "limit":
                self.limit(number, *more)
            elif kind == "look":
                self.tell("looked", number, self.judge(number))
            else:
                self.end(number, *more)
        return True

    # --- slots -------------------------------------------------------------------------

    def fork(self, slot: int, fds: list[int]) -> None:
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:  # too many processes, no memory
            self.tell("not forked", slot, str(error))
        else:
            if not pid:
                self.become_keeper(parent, *fds)
            self.keepers[pid] = None
            self.tell("forked", slot, pid)
        for fd in fds:
            os.close(fd)

    def become_keeper(self, parent: int, link: int, tokens: int, *streams: int) -> None:
        """Fork the slot, adopt what it leaves behind, and end as it does."""
        die_with_parent(parent)
        adopt_orphans()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.broker.close()
        self.woken.close()
        self._wake.close()
        keeper = os.getpid()
        try:
            slot = os.fork()
        except OSError as error:
            print(f"No slot could be forked: {error}", file=sys.stderr)
            os._exit(71)
        if not slot:
            die_with_parent(keeper)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            os.setpgid(0, 0)  # Ctrl-C in the terminal is the Broker's business
            child.main(socket.socket(fileno=link), tokens, *streams)
        for fd in (link, tokens, *streams):
            os.close(fd)
        status = 0
        while True:
            pid, found = os.wait()
            if pid == slot:
                status = found
                break
        while left := children(keeper):  # what its jobs left behind
            kill_all(left)
            if reap(left, END_S):
                break
        end_like(status)

    def end(self, keeper: int, gently: bool) -> None:
        """End a slot: ask its process group, or kill the keeper (it may not have forked the slot
        yet) and all below it."""
        if not gently:
            self.kill(keeper)
            return
        for pid in children(keeper)[:1]:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGTERM)

    def kill(self, keeper: int) -> None:
        """By its group first, if it has one: nobody there can fork any more."""
        if (leaf := self.leaves.get(keeper)) is not None:
            leaf.kill()
        kill_all([keeper])

    def reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self.woken.recv(4096)
        if self.groups is not None:
            self.groups.tidy()
        with contextlib.suppress(ChildProcessError):
            while (found := os.wait4(-1, os.WNOHANG))[0]:
                pid, status, used = found
                self.count(used)
                if pid in self.keepers:
                    del self.keepers[pid]
                    limit = self.limits.pop(pid, None)
                    if limit is not None and limit.was_broken():
                        self.tell("memory", pid, limit.peak)
                    self.bury()
                    self.tell("exited", pid, status, self._cpu_s, self._peak)
                    self._cpu_s, self._peak = 0.0, 0
                    if pid in self.leaves and self.groups is not None:
                        self.groups.discard(self.leaves.pop(pid))

    def count(self, used: Any) -> None:
        """The resources of one that has ended, and of what it had waited for."""
        self._cpu_s += used.ru_utime + used.ru_stime
        self._peak = max(self._peak, used.ru_maxrss * 1024)

    def bury(self) -> None:
        """What is below us and no keeper lost its keeper."""
        orphans = [pid for pid in children(os.getpid()) if pid not in self.keepers]
        if not orphans:
            return
        kill_all(orphans)
        for pid in reap(orphans, BURY_S, self.count):  # the kernel may have much to free
            self._dying.setdefault(pid, time.monotonic() + DYING_S)

    def mourn(self) -> None:
        """Say so if something that was killed does not die."""
        now, there = time.monotonic(), children(os.getpid())
        self._dying = {pid: until for pid, until in self._dying.items() if pid in there}
        undead = [pid for pid, until in self._dying.items() if now >= until]
        if undead:
            self.tell("undead", undead[0], len(undead))
            self._dying.update(dict.fromkeys(undead, float("inf")))

    # --- memory ------------------------------------------------------------------------

    def limit(self, keeper: int, most: int) -> None:
        self.limits.pop(keeper, None)
        leaf = self.leaf_of(keeper) if most else self.leaves.get(keeper)
        if leaf is not None:
            leaf.limit(most)
        if most:
            self.limits[keeper] = Limit(keeper, most, leaf)
            self._look_at = min(self._look_at, time.monotonic() + POLL_S)
        self.tell("limited", keeper, most)

    def leaf_of(self, keeper: int) -> Leaf | None:
        """The group of that slot: its processes are in there, and it is of those who fork."""
        if keeper not in self.leaves and self.groups is not None:
            leaf = self.groups.leaf(keeper)
            if leaf is None:
                return None  # looking has to do
            self.leaves[keeper] = leaf
        if (known := self.leaves.get(keeper)) is not None:
            inside = set(known.pids())
            known.adopt([pid for pid in descendants(children(keeper)) if pid not in inside])
        return known

    def look(self) -> None:
        """End slots whose jobs use too much; it is said first, so that it is known why."""
        began = time.monotonic()
        for keeper in list(self.limits):
            self.judge(keeper)
        in_hurry = any(limit.is_near for limit in self.limits.values())
        self._look_at = began + (HURRY_S if in_hurry else POLL_S)

    def judge(self, keeper: int) -> int:
        """What it used in bytes, if that is too much: then it is ended."""
        limit = self.limits.get(keeper)
        if limit is None or not limit.is_broken():
            return 0
        del self.limits[keeper]
        self.tell("memory", keeper, limit.peak)
        self.kill(keeper)
        return limit.peak


def end_like(status: int) -> None:
    """End this process with the wait status of another."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # that one may have left a core
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        time.sleep(1)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def live(broker: socket.socket, temporary: str) -> NoReturn:
    """Serve until *broker* is closed; removes the directory *temporary*, if that is one."""
    nursery = Nursery(broker)  # a late SIGCHLD writes to it
    with contextlib.suppress(ConnectionError, BrokenPipeError):
        nursery.serve()
    nursery.close()
    if temporary:  # its owner may have been killed
        shutil.rmtree(temporary, ignore_errors=True)
    os._exit(0)


def main() -> None:
    die_with_parent(os.getppid())
    gc.collect()
    live(socket.socket(fileno=int(sys.argv[1])), "".join(sys.argv[2:3]))


if __name__ == "__main__":
    main()
