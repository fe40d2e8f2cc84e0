"""The Router's news: to watchers when it is durable, to Brokers in one go, hints now and then."""

from __future__ import annotations

from pypelinin.cluster.events import Publish, SendAfter
from pypelinin.cluster.news import PROGRESS_S, News
from pypelinin.cluster.router import Router
from pypelinin.config import Limits
from pypelinin.machine import Command
from pypelinin.wire.messages import ForgetRuns, PipelineFinished

from .test_images import Life, submission


def lived() -> tuple[Life, News]:
    life = Life(0)
    for step in range(60):
        life.step(*([submission(step)] if step == 30 else []))
    return life, life.router.news


def test_who_watches_is_told_with_the_row_that_must_be_durable_first() -> None:
    life = Life(0)
    told = []
    perform = life.perform

    def listen(commands: list[Command]) -> None:
        told.extend(commands)
        perform(commands)

    life.perform = listen  # type: ignore[method-assign]  # it hears all
    for step in range(60):
        life.step(*([submission(step)] if step == 30 else []))
    news = [
        command
        for command in told
        if isinstance(command, SendAfter) and isinstance(command.envelope.message, PipelineFinished)
    ]
    assert len(news) == 1
    assert news[0].peer == b"client"
    (run,) = life.router.state.runs.by_number.values()
    assert news[0].lsn >= run.lsn


def test_a_broker_is_told_to_forget_once_in_a_heartbeat() -> None:
    life, news = lived()
    (peer,) = life.router.desk.peers.values()
    window = [message for _, message in peer.link._window]
    news.tell(life.now + 10)
    later = [message for _, message in peer.link._window if message not in window]
    forgotten = [m for m in [*window, *later] if isinstance(m, ForgetRuns)]
    assert sum(len(m.runs) for m in forgotten) <= 1
    assert not peer.runs


def test_hints_are_few() -> None:
    router = Router(Limits(), {}, "", "1", 0.0, "c" * 32)
    router.begin(1.0)
    published = []
    for i in range(100):
        router.dispatch.ended += 5
        router.news.tell(1.0 + i * PROGRESS_S / 10)
        published += [c for c in router.scribe.take() if isinstance(c, Publish)]
    assert 9 <= len(published) <= 11
    assert sum(int(str(p.body["jobs"])) for p in published) <= 500
