"""Hand-out: every lot in one message, with the payloads and headers its node needs."""

from __future__ import annotations

from pypelinin.cluster.hand_out import MESSAGE_BLOBS_MAX, MESSAGE_BYTES_MAX, lots_for
from pypelinin.cluster.queues import JobClass
from pypelinin.cluster.state import State
from pypelinin.graph.job import Job
from pypelinin.pipeline import Pipeline
from pypelinin.wire.messages import JobsOut
from pypelinin.wire.rows import LotRow
from tests.playbook.scene import ints, pack, run_id, state_with, unpack_payloads, wide


def lot(fence: int, *pairs: tuple[int, int]) -> LotRow:
    return LotRow(fence, ints(*(run for run, _ in pairs)), ints(*(job for _, job in pairs)))


def told(state: State, *rows: LotRow, known: dict[int, None] | None = None) -> list[JobsOut]:
    classes = [JobClass("A", {}, 0)] * len(rows)
    return list(lots_for(state, {} if known is None else known, classes, rows, 7))


def with_data(*data: object) -> Pipeline:
    jobs = [Job("A", name=f"A{i}", data=value) for i, value in enumerate(data)]
    return Pipeline({tuple(jobs): None})


def own(job: int, value: object) -> tuple[object, ...]:
    return (f"A{job}", pack("", value))


def test_a_message_names_the_row_it_builds_on_and_its_lots() -> None:
    state = state_with(wide(2))
    state.epoch = 3
    (message,) = told(state, lot(10, (1, 0)), lot(11, (1, 1)))
    assert (message.epoch, message.lsn) == (3, 7)
    assert [(each.fence, each.worker, each.jobs.tolist()) for each in message.lots] == [
        (10, "A", [0]),
        (11, "A", [1]),
    ]


def test_a_node_gets_the_header_of_a_run_once() -> None:
    state = state_with(wide(3, data={"url": "x"}), wide(1, "B"))
    known: dict[int, None] = {}
    (first,) = told(state, lot(10, (1, 0)), lot(11, (1, 1)), known=known)
    assert [(run.number, run.run) for run in first.runs] == [(1, run_id(1))]
    assert first.blobs[0] == pack("", {"url": "x"})
    (second,) = told(state, lot(12, (1, 2)), lot(13, (2, 0)), known=known)
    assert [run.number for run in second.runs] == [2]
    assert list(known) == [1, 2]


def test_without_payloads_of_jobs_there_are_only_headers() -> None:
    state = state_with(Pipeline({Job("A"): Job("B")}, data=1))
    (message,) = told(state, lot(10, (1, 0)), lot(11, (1, 1)))
    assert list(message.blobs) == [pack("", 1)]


def test_each_job_gets_its_own_slice_of_the_payloads() -> None:
    state = state_with(with_data("a", "bb", "ccc", "dddd"))
    (message,) = told(state, lot(10, (1, 1), (1, 2)), lot(20, (1, 3), (1, 0)), lot(30, (1, 0)))
    _, *payloads = message.blobs
    assert [unpack_payloads(each) for each in payloads] == [
        [own(1, "bb"), own(2, "ccc")],
        [own(3, "dddd"), own(0, "a")],
        [own(0, "a")],
    ]


def test_jobs_with_gaps_between_them_get_theirs() -> None:
    state = state_with(with_data("a", "bb", "ccc", "dddd"))
    (message,) = told(state, lot(10, (1, 0), (1, 0), (1, 2)), lot(20, (1, 1), (1, 3)))
    _, first, second = message.blobs
    assert unpack_payloads(first) == [own(0, "a"), own(0, "a"), own(2, "ccc")]
    assert unpack_payloads(second) == [own(1, "bb"), own(3, "dddd")]


def test_jobs_without_a_payload_are_nil_beside_others() -> None:
    state = state_with(with_data("a"), Pipeline({Job("A"): None}))
    (message,) = told(state, lot(10, (1, 0), (2, 0)), lot(20, (2, 0)))
    *_, first, second = message.blobs
    assert unpack_payloads(first) == [own(0, "a"), None]
    assert second == b""


def test_messages_are_cut_by_bytes_and_keep_their_order() -> None:
    big = "x" * (MESSAGE_BYTES_MAX // 2)
    state = state_with(with_data(*[big] * 7))
    rows = [lot(fence, (1, fence)) for fence in range(7)]
    messages = told(state, *rows)
    assert len(messages) > 2
    assert [each.fence for message in messages for each in message.lots] == list(range(7))
    for message in messages:
        assert sum(map(len, message.blobs)) < 2 * MESSAGE_BYTES_MAX
        assert len(message.blobs) == len(message.runs) + len(message.lots)


def test_messages_are_cut_by_the_number_of_frames() -> None:
    state = state_with(*(with_data(n) for n in range(MESSAGE_BLOBS_MAX)))
    rows = [lot(n, (n, 0)) for n in range(1, MESSAGE_BLOBS_MAX + 1)]
    messages = told(state, *rows)
    assert len(messages) > 1
    assert all(len(message.blobs) <= MESSAGE_BLOBS_MAX for message in messages)
    assert sum(len(message.lots) for message in messages) == len(rows)


def test_a_header_comes_with_its_lot_or_before() -> None:
    big = "x" * (MESSAGE_BYTES_MAX // 2)
    state = state_with(*(wide(1, data=f"{n}{big}") for n in range(6)))
    seen: set[int] = set()
    messages = told(state, lot(10, *((n, 0) for n in range(1, 7))), lot(20, (1, 0)))
    assert len(messages) > 1
    for message in messages:
        seen |= {run.number for run in message.runs}
        for each in message.lots:
            assert set(each.runs) <= seen
