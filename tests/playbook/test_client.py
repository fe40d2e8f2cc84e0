"""The client's machine: requests are answered, sent again, or their time is over."""

from __future__ import annotations

import pytest

from pypelinin.cluster.client import RESEND_S, Client, Expired
from pypelinin.cluster.events import Malformed, Received, Send
from pypelinin.cluster.member import ROUTER, Reconnect
from pypelinin.config import Limits
from pypelinin.machine import Command
from pypelinin.wire.codec import Envelope, Record
from pypelinin.wire.definitions import BATCH_ROWS_MAX, Refusal
from pypelinin.wire.messages import (
    GetCluster,
    GetStatus,
    PipelineFinished,
    Refused,
    RunStatus,
    Status,
    Wait,
)

DONE = RunStatus("r", "done", 1, 1, finished_at=9.0)
RUNNING = RunStatus("r", "running", 1)


@pytest.fixture
def client() -> Client:
    return Client(Limits(client_deadline_s=10.0))


def tell(client: Client, message: Record, now: float = 0.0) -> list[Command]:
    commands = client.handle([Received(ROUTER, Envelope(message))], now)
    client.check()
    return commands


def ask(client: Client, now: float = 0.0, within_s: float | None = None) -> int:
    number, commands = client.request(GetCluster, now, within_s)
    assert commands == [Send(ROUTER, Envelope(GetCluster(number)))]
    return number


def poll(client: Client, now: float, every_s: float = 5.0) -> list[Record]:
    messages = []
    for command in client.poll(now, every_s):
        assert isinstance(command, Send)
        messages.append(command.envelope.message)
    client.check()
    return messages


# --- requests --------------------------------------------------------------------------


def test_each_answer_appears_under_its_number(client: Client) -> None:
    one, two = ask(client), ask(client)
    tell(client, Status(two, ()))
    assert client.answers == {two: Status(two, ())}
    tell(client, Status(one, ()))
    assert set(client.answers) == {one, two}
    assert client.deadline() is None


def test_numbers_go_on_from_the_first_one() -> None:
    client = Client(Limits(), first_request=40)
    assert [ask(client), ask(client)] == [40, 41]


def test_an_answer_that_nobody_waits_for_is_dropped(client: Client) -> None:
    number = ask(client)
    tell(client, Status(number + 1, ()))
    tell(client, Status(number, ()))
    del client.answers[number]
    tell(client, Status(number, ()))  # a double
    assert client.answers == {}


def test_a_request_is_sent_again_until_it_is_answered(client: Client) -> None:
    number = ask(client)
    again = [Send(ROUTER, Envelope(GetCluster(number)))]
    assert client.deadline() == RESEND_S
    assert client.handle([], RESEND_S - 0.1) == []
    assert client.handle([], RESEND_S) == again
    assert client.handle([], RESEND_S + 0.1) == []
    tell(client, Status(number, ()), RESEND_S + 0.2)
    assert client.handle([], 3 * RESEND_S) == []


def test_the_third_try_is_on_a_new_connection(client: Client) -> None:
    ask(client)
    tries = [client.handle([], n * RESEND_S) for n in (1, 2, 3)]
    assert [any(isinstance(c, Reconnect) for c in commands) for commands in tries] == [
        False, True, False,
    ]  # fmt: skip
    assert isinstance(tries[1][0], Reconnect)


def test_a_request_ends_at_its_deadline(client: Client) -> None:
    number = ask(client, now=5.0)
    for now in (7.0, 9.0, 11.0, 13.0, 14.9):
        client.handle([], now)
    assert client.answers == {}
    assert client.handle([], 15.0) == []
    assert client.answers == {number: Expired(10.0)}
    assert client.deadline() is None


def test_a_request_may_have_a_deadline_of_its_own(client: Client) -> None:
    number = ask(client, within_s=0.5)
    assert client.deadline() == 0.5
    client.handle([], 0.5)
    assert client.answers == {number: Expired(0.5)}


def test_wait_puts_the_next_try_off(client: Client) -> None:
    ask(client)
    tell(client, Wait(3000, "busy"), 1.0)
    assert client.handle([], 3.9) == []
    assert len(client.handle([], 4.0)) == 1


def test_a_refusal_of_a_request_is_its_answer(client: Client) -> None:
    one, two = ask(client), ask(client)
    refused = Refused(one, Refusal("busy", "Later."))
    tell(client, refused)
    assert client.answers == {one: refused}
    assert two not in client.answers


@pytest.mark.parametrize("by_bytes", [False, True])
def test_a_refusal_without_a_number_fails_all_requests(client: Client, by_bytes: bool) -> None:
    client.watch(["r"])
    poll(client, 0.0)
    one, two = ask(client), ask(client)
    refused = Refused(0, Refusal("version", "Other."))
    if by_bytes:
        client.handle([Malformed(ROUTER, "version", "Other.")], 0.0)
    else:
        tell(client, refused)
    assert client.answers == {one: refused, two: refused}
    assert client.deadline() is None


def test_it_knows_when_it_heard_from_the_router(client: Client) -> None:
    tell(client, PipelineFinished(()), 4.5)
    assert client.heard_at == 4.5


# --- runs it watches -------------------------------------------------------------------


def test_news_come_unasked_and_once(client: Client) -> None:
    client.watch(["r"])
    tell(client, PipelineFinished((DONE,)))
    tell(client, PipelineFinished((DONE,)))
    assert client.watched == {"r": DONE}
    assert client.finished_news == [DONE]


def test_news_about_other_runs_are_dropped(client: Client) -> None:
    tell(client, PipelineFinished((DONE,)))
    assert client.watched == {}
    assert client.finished_news == []


def test_a_late_status_does_not_undo_the_end(client: Client) -> None:
    client.watch(["r"])
    tell(client, PipelineFinished((DONE,)))
    number = ask(client)
    tell(client, Status(number, (RUNNING,)))
    assert client.watched == {"r": DONE}


def test_an_answered_status_is_news_too(client: Client) -> None:
    client.watch(["r"])
    tell(client, Status(ask(client), (RUNNING,)))
    assert (client.watched, client.finished_news) == ({"r": RUNNING}, [])
    tell(client, Status(ask(client), (DONE,)))
    assert (client.watched, client.finished_news) == ({"r": DONE}, [DONE])


def test_a_poll_asks_for_what_is_not_finished(client: Client) -> None:
    client.watch(["r", "s"])
    tell(client, PipelineFinished((DONE,)))
    (question,) = poll(client, 0.0)
    assert question == GetStatus(1, ("s",), True)


def test_the_answer_to_a_poll_is_nobodys_but_news(client: Client) -> None:
    client.watch(["r"])
    (question,) = poll(client, 0.0)
    assert isinstance(question, GetStatus)
    tell(client, Status(question.request, (DONE,)))
    assert client.answers == {}
    assert client.finished_news == [DONE]
    assert poll(client, 100.0) == []


def test_polls_keep_their_distance_and_wait_for_the_one_before(client: Client) -> None:
    client.watch(["r"])
    (question,) = poll(client, 0.0)
    assert poll(client, 6.0) == []  # not answered yet
    assert isinstance(question, GetStatus)
    tell(client, Status(question.request, (RUNNING,)))
    assert poll(client, 4.9) == []
    assert len(poll(client, 5.0)) == 1


def test_a_poll_whose_time_is_over_is_no_answer(client: Client) -> None:
    client.watch(["r"])
    poll(client, 0.0)
    client.handle([], 10.0)
    assert client.answers == {}
    assert len(poll(client, 10.0)) == 1


def test_many_runs_are_polled_in_several_questions(client: Client) -> None:
    client.watch([str(n) for n in range(BATCH_ROWS_MAX + 1)])
    questions = poll(client, 0.0)
    assert [len(q.runs) for q in questions if isinstance(q, GetStatus)] == [BATCH_ROWS_MAX, 1]


def test_a_run_the_router_does_not_know_is_not_asked_for_again(client: Client) -> None:
    client.watch(["r"])
    (question,) = poll(client, 0.0)
    assert isinstance(question, GetStatus)
    unknown = RunStatus("r", "unknown")
    tell(client, Status(question.request, (unknown,)))
    assert client.finished_news == [unknown]
    assert poll(client, 100.0) == []


# --- keys ------------------------------------------------------------------------------


def test_who_only_waits_learns_that_his_key_is_refused(client: Client) -> None:
    """No request fails of it: polls are asked for nobody."""
    client.watch(["r"])
    (question,) = poll(client, 0.0)
    assert isinstance(question, GetStatus)
    refusal = Refusal("key", "It was revoked.")
    tell(client, Refused(question.request, refusal))
    assert client.refusal == refusal
    assert client.answers == {}
    number = ask(client)
    tell(client, Status(number, ()))  # it is valid again
    assert client.refusal is None


def test_another_refusal_says_nothing_of_the_key(client: Client) -> None:
    tell(client, Refused(ask(client), Refusal("busy", "Later.")))
    assert client.refusal is None
