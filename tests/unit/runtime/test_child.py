from __future__ import annotations

import os
import re
import socket
import sys
import traceback
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import msgpack
import pytest

from pypelinin.ids import make_fence
from pypelinin.runtime import child
from pypelinin.runtime.child import SetupError, Slot, end_fork, failure, load_store, load_workers
from pypelinin.runtime.values import pack_value

FENCE = make_fence(3, 7)


class Broker:
    """The other end of a slot that runs in this process."""

    def __init__(self) -> None:
        self.link, theirs = socket.socketpair()
        self.link.setblocking(False)
        self.tokens, self._give = os.pipe()
        os.set_blocking(self.tokens, False)
        self.slot = Slot(theirs, self.tokens)
        self._unpacker = msgpack.Unpacker(raw=False)

    def give(self, tag: int, count: int) -> None:
        os.write(self._give, bytes([tag]) * count)

    def lot(
        self, worker: str, jobs: int = 1, tag: int = 1, tokens: int | None = None, **more: Any
    ) -> None:
        """Run a lot of run 5 whose data is *data*; jobs have *own* (name, data) pairs."""
        self.give(tag, jobs if tokens is None else tokens)
        own = b"".join(
            msgpack.packb([name, None if data is None else pack_value("", data)])
            for name, data in more.get("own", ())
        )
        numbers = array("I", [5] * jobs).tobytes()
        self.slot.run_lot(
            tag, FENCE, more.get("skip", 0), worker, numbers, array("I", range(jobs)).tobytes(),
            own, {5: ["r" * 32, pack_value("", more.get("data"))]}, more.get("forget", []),
            more.get("follows", b""),
        )  # fmt: skip

    def outcomes(self) -> list[Any]:
        """What the slot has said; successes as True."""
        try:
            self._unpacker.feed(self.link.recv(1 << 20))
        except BlockingIOError:
            return []
        return [True if type(outcome) is float else outcome for outcome in self._unpacker]

    def close(self) -> None:
        self.link.close()
        self.slot.link.close()
        os.close(self.tokens)
        os.close(self._give)


@pytest.fixture
def broker() -> Iterator[Broker]:
    made = Broker()
    yield made
    made.close()


class Good:
    requires = ("a",)
    seen: ClassVar[list[Any]] = []

    def process(self, data: Any) -> Any:
        Good.seen.append(data)
        return {"result": data}


class Bad:
    def process(self, data: Any) -> None:
        raise ValueError(f"no {data}")


class Store:
    def __init__(self, **configuration: Any) -> None:
        if configuration.get("raises"):
            raise OSError("no disk")
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.configuration = configuration

    def retrieve(self, info: Any) -> Any:
        self.calls.append(("retrieve", dict(info)))
        return "retrieved"

    def save(self, info: Any) -> None:
        self.calls.append(("save", dict(info)))
        if self.configuration.get("full"):
            raise OSError("disk full")


@pytest.fixture(autouse=True)
def _clean() -> None:
    Good.seen.clear()


# --- jobs -------------------------------------------------------------------------------------


def test_a_lot_is_run_in_order(broker: Broker) -> None:
    broker.slot.workers = {"Good": Good}
    broker.lot("Good", 3, data={"x": 1})
    assert broker.outcomes() == [True, True, True]
    assert Good.seen == [{"x": 1}] * 3


def test_jobs_with_data_of_their_own(broker: Broker) -> None:
    broker.slot.workers = {"Good": Good}
    own = [("a", "first"), (None, None), ("c", 3), ("d", 4)]
    broker.lot("Good", 3, data="the run's", own=own, skip=1)
    assert Good.seen == ["the run's", 3, 4]


def test_each_job_gets_a_fresh_copy_of_the_data(broker: Broker) -> None:
    class Greedy:
        def process(self, data: Any) -> None:
            data.append(1)
            assert data == [0, 1]

    broker.slot.workers = {"Greedy": Greedy}
    broker.lot("Greedy", 2, data=[0])
    assert broker.outcomes() == [True, True]


def test_what_the_store_is_told(broker: Broker) -> None:
    broker.slot.workers = {"Good": Good}
    broker.slot.store = store = Store()
    broker.lot("Good", 2, data=1, own=[(None, None), ("named", 2)])
    assert [call for call, _ in store.calls] == ["retrieve", "save"] * 2
    info = store.calls[2][1]
    assert info == {
        "worker": "Good",
        "worker_requires": ("a",),
        "data": 2,
        "job": "named",
        "job_number": 1,
        "pipeline": "r" * 32,
        "attempt": 8,
        "fence": FENCE + 1,
    }
    assert store.calls[3][1] == {**info, "worker_result": {"result": "retrieved"}}
    assert store.calls[0][1]["job"] == "Good"


def test_a_failure_hides_no_other_outcome(broker: Broker) -> None:
    broker.slot.workers = {"Bad": Bad}
    broker.lot("Bad", 2, own=[(None, "x"), (None, "y")])
    one, two = broker.outcomes()
    assert one[1:4] == ["exception", "ValueError", "no x"]
    assert two[1:4] == ["exception", "ValueError", "no y"]
    assert one[0] > 0
    assert "raise ValueError" in one[4]
    assert "child.py" not in one[4].replace("test_child.py", "")


def test_the_blame_is_the_stores(broker: Broker) -> None:
    broker.slot.workers = {"Good": Good}
    broker.slot.store = Store(full=True)
    broker.lot("Good")
    (outcome,) = broker.outcomes()
    assert outcome[1:4] == ["store", "OSError", "Store.save() raised: disk full"]


def test_a_worker_the_slot_lacks(broker: Broker) -> None:
    broker.lot("Missing")
    assert broker.outcomes()[0][1:4] == ["exception", "KeyError", "'Missing'"]


def test_runs_that_are_forgotten(broker: Broker) -> None:
    broker.slot.workers = {"Good": Good}
    broker.slot.runs = {4: ("old", b""), 6: ("other", b"")}
    broker.lot("Good", forget=[4])
    assert sorted(broker.slot.runs) == [5, 6]


# --- tokens -----------------------------------------------------------------------------------


def test_a_job_without_a_token_does_not_begin(broker: Broker) -> None:
    broker.slot.workers = {"Good": Good}
    broker.lot("Good", 5, tokens=2)
    assert len(broker.outcomes()) == len(Good.seen) == 2
    broker.lot("Good", 3, tag=2)
    assert len(broker.outcomes()) == 3


def test_a_token_of_the_next_lot_ends_this_one_and_is_kept(broker: Broker) -> None:
    broker.slot.workers = {"Good": Good}
    broker.give(1, 1)
    broker.give(2, 2)
    broker.lot("Good", 5, tag=1, tokens=0)
    assert len(broker.outcomes()) == 1
    broker.lot("Good", 2, tag=2, tokens=0)
    assert len(broker.outcomes()) == 2


# --- setting up -------------------------------------------------------------------------------


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path / "made_for_a_test.py"
    for name in set(sys.modules) - before:
        del sys.modules[name]


OWN = "call:{}.{}".format(*sys.version_info)
WORKER = "class W:\n    def process(self, data): pass\n"


def test_workers_are_those_in_all(module: Path) -> None:
    module.write_text(WORKER + "class V(W): pass\nclass Hidden(W): pass\n__all__ = ['W', 'V']\n")
    assert sorted(load_workers(["made_for_a_test"])) == ["V", "W"]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("raise ImportError('x')", "cannot be imported: x"),
        ("raise SystemExit(3)", "cannot be imported: 3"),
        ("a = = b", "cannot be imported: invalid syntax"),
        (WORKER, r"\(.*made_for_a_test.py\) lacks __all__"),
        (WORKER + "__all__ = ['W', 'X']", "made_for_a_test.X stands in __all__ but is no worker"),
        ("W = 3\n__all__ = ['W']", "made_for_a_test.W stands in __all__ but is no worker"),
        ("__all__ = 7", "__all__ of made_for_a_test is no list of names"),
        ("__all__ = [7]", "__all__ of made_for_a_test is no list of names"),
        ("__all__ = 'W'", "__all__ of made_for_a_test is no list of names"),
    ],
)
def test_a_module_that_is_none(module: Path, source: str, text: str) -> None:
    module.write_text(source + "\n")
    with pytest.raises(SetupError) as caught:
        load_workers(["made_for_a_test"])
    assert re.search(text, caught.value.args[1])


def test_two_modules_with_one_name(module: Path) -> None:
    module.write_text(WORKER + "__all__ = ['W']\n")
    module.with_name("made_too.py").write_text(WORKER + "__all__ = ['W']\n")
    with pytest.raises(SetupError) as caught:
        load_workers(["made_for_a_test", "made_too"])
    assert caught.value.args[1] == "Two modules offer a worker 'W'."
    module.with_name("made_too.py").write_text("from made_for_a_test import W\n__all__ = ['W']\n")
    del sys.modules["made_too"]
    assert list(load_workers(["made_for_a_test", "made_too"])) == ["W"]


def test_stores_by_name_and_by_value(module: Path) -> None:
    module.write_text("class Outer:\n    class Inner: pass\n")
    assert load_store("made_for_a_test:Outer.Inner").__qualname__ == "Outer.Inner"
    assert load_store("") is None

    class Local:
        pass

    assert load_store(pack_value("", Local)).__name__ == "Local"
    for spec in ("made_for_a_test:Nothing", "no_such_module:X", "made_for_a_test", b"pgarbage"):
        with pytest.raises(SetupError, match="cannot be loaded"):
            load_store(spec)


def test_set_up_says_which_workers_there_are(broker: Broker, module: Path) -> None:
    module.write_text(WORKER + "__all__ = ['W']\n")
    setup = [[str(module.parent)], ["made_for_a_test"]]
    assert broker.slot.set_up(*setup, "", {}) == ["started", ["W", OWN, "shell"], None, []]
    assert broker.slot.set_up([], ["no_such"], "", {})[:2] == ["started", []]
    store = pack_value("", Store)
    kind, workers, failed, _ = broker.slot.set_up(*setup, store, {"raises": True})
    assert (kind, workers, failed[:3]) == (
        "started", [], ["store", "OSError", "Store() raised: no disk"],
    )  # fmt: skip
    assert broker.slot.set_up(*setup, store, {"other": 1})[2] is None
    assert broker.slot.store.configuration == {"other": 1}


def test_monitoring_is_the_stores_choice(broker: Broker) -> None:
    assert broker.slot.save_monitoring({"a": 1}) is None
    broker.slot.store = Store()
    assert broker.slot.save_monitoring({"a": 1}) is None

    class Broken(Store):
        def save_monitoring(self, data: Any) -> None:
            raise OSError("no room")

    broker.slot.store = Broken()
    failed = broker.slot.save_monitoring({"a": 1})
    assert failed is not None
    assert failed[:3] == ["store", "OSError", "no room"]


# --- exceptions as data -----------------------------------------------------------------------


def test_a_failure_is_short_and_can_travel() -> None:
    class Long(Exception):
        pass

    Long.__qualname__ = "L" * 1000
    found = failure("exception", Long("\udcff" + "ü" * 100_000))
    cause, kind, text, trace = found
    assert cause == "exception"
    assert len(kind) == 200
    assert text.startswith("\\udcffü")
    assert len(text) <= child.TEXT_MAX + 6
    assert len(trace) <= child.TEXT_MAX + 6
    assert msgpack.unpackb(msgpack.packb(found)) == found


def test_a_cause_is_shown() -> None:
    try:
        try:
            1 / 0
        except ZeroDivisionError as first:
            raise RuntimeError("second") from first
    except RuntimeError as error:
        trace = failure("exception", error)[3]
    assert "ZeroDivisionError: division by zero" in trace
    assert "direct cause" in trace


def test_a_traceback_that_cannot_be_made_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(traceback.TracebackException, "from_exception", broken)
    assert failure("exception", ValueError("x")) == ["exception", "ValueError", "x", ""]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # other tests' threads
def test_a_fork_of_a_job_ends_as_it_would_have() -> None:
    for error, code in (
        (None, 0), (SystemExit(), 0), (SystemExit(4), 4), (SystemExit("x"), 1), (ValueError(), 1),
    ):  # fmt: skip
        pid = os.fork()
        if not pid:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            end_fork(error)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code


class Odd:
    """Fails where its data is odd."""

    def process(self, data: int) -> None:
        Good.seen.append(data)
        assert not data % 2


def test_a_job_that_follows_a_failure_is_not_begun(broker: Broker) -> None:
    broker.slot.workers = {"Odd": Odd}
    own = [("", data) for data in (0, 1, 2, 4, 6, 3, 8)]
    broker.lot("Odd", 7, own=own, follows=b"\0\1\1\1\0\1\0")
    ended = [outcome if outcome in (True, None) else False for outcome in broker.outcomes()]
    assert ended == [True, False, None, None, True, False, True]
    assert Good.seen == [0, 1, 6, 3, 8]


def test_what_is_not_begun_takes_its_token(broker: Broker) -> None:
    broker.slot.workers = {"Odd": Odd}
    broker.lot("Odd", 3, data=1, follows=b"\0\1\1", tokens=2)  # the third was recalled
    assert broker.outcomes()[1:] == [None]
    broker.lot("Odd", 1, data=2, tag=2)
    assert broker.outcomes() == [True]


# --- a store that is down -----------------------------------------------------------------------


class Flaky:
    """Raises as often as it is told to, then works."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls: list[int] = []

    def save(self, info: dict[str, Any]) -> None:
        self.calls.append(info["fence"])
        if self.errors:
            raise self.errors.pop(0)

    def retrieve(self, info: dict[str, Any]) -> str:
        self.save(info)
        return "found"


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(child.time, "sleep", found.append)
    return found


def test_a_save_is_tried_again_with_the_same_fence(waited: list[float]) -> None:
    store = Flaky(OSError("down"), RuntimeError("still down"))
    child.save(store, {"fence": FENCE})
    assert store.calls == [FENCE] * 3
    assert waited == list(child.STORE_WAITS_S[:2])


def test_a_save_is_given_up_with_its_last_error(waited: list[float]) -> None:
    store = Flaky(*[OSError(f"try {n}") for n in range(1, 10)])
    with pytest.raises(OSError, match="try 5"):
        child.save(store, {"fence": FENCE})
    assert waited == list(child.STORE_WAITS_S)


@pytest.mark.parametrize("error", [TypeError, ValueError, KeyError, AttributeError])
def test_what_is_wrong_with_the_value_is_not_tried_again(
    error: type[Exception], waited: list[float]
) -> None:
    with pytest.raises(error):
        child.save(Flaky(error("a function")), {"fence": FENCE})
    assert waited == []


def test_a_retrieve_is_tried_again_if_the_store_was_not_reached(waited: list[float]) -> None:
    store = Flaky(ConnectionError("down"), TimeoutError("slow"))
    assert child.retrieve(store, {"fence": FENCE}) == "found"
    assert len(waited) == 2
    with pytest.raises(FileNotFoundError):
        child.retrieve(Flaky(FileNotFoundError("no such input")), {"fence": FENCE})
    assert len(waited) == 2


class Notes:
    """A witness that has something to say of each second job."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, bool]] = []

    def begin(self) -> list[bool]:
        return [True]

    def note(self, position: int, elapsed_s: float, failed: bool) -> list[object] | None:
        self.asked.append((position, failed))
        return ["note", position] if position % 2 else None


def test_a_note_comes_before_the_outcome_of_its_job(broker: Broker) -> None:
    notes = Notes()
    broker.slot.witness = notes  # type: ignore[assignment]  # a stand-in
    broker.slot.workers = {"Good": Good}
    broker.lot("Good", 3)
    assert broker.outcomes() == [True, ["note", 1], True, True]
    assert notes.asked == [(0, False), (1, False), (2, False)]
