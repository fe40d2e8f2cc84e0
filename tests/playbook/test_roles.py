"""The table of roles: total over all messages, and what it says."""

from __future__ import annotations

import pytest

from pypelinin.cluster import roles
from pypelinin.cluster.roles import SENDERS, act_of, is_allowed, not_valid, wrong_role
from pypelinin.wire import messages
from pypelinin.wire.codec import Record
from pypelinin.wire.messages import MESSAGES


def test_every_message_has_its_senders_and_nothing_else_does() -> None:
    """A new message: decide who may send it in `cluster.roles.SENDERS`."""
    assert set(SENDERS) == set(MESSAGES.values())
    assert all(senders <= set(roles.ROLES) for senders in SENDERS.values())


@pytest.mark.parametrize(
    ("role", "kind", "allowed"),
    [
        ("viewer", messages.GetStatus, True),
        ("viewer", messages.GetResults, False),
        ("viewer", messages.AddPipeline, False),
        ("viewer", messages.Cancel, False),
        ("client", messages.AddPipeline, True),
        ("client", messages.GetResults, True),
        ("client", messages.JoinBroker, False),
        ("client", messages.JobsFinished, False),
        ("broker", messages.JobsFinished, True),
        ("broker", messages.AddPipeline, False),
        ("broker", messages.GetStatus, False),
        ("broker", messages.PipelineSettled, False),
        ("pipeliner", messages.PipelineSettled, True),
        ("pipeliner", messages.JobsFinished, False),
        ("admin", messages.AddPipeline, True),
        ("admin", messages.JoinBroker, False),
        ("admin", messages.Welcome, False),
        ("nobody", messages.GetStatus, False),
    ],
)
def test_who_may_send_what(role: str, kind: type[Record], allowed: bool) -> None:
    assert is_allowed(role, kind) is allowed


def test_a_role_has_all_of_the_weaker_ones() -> None:
    for senders in SENDERS.values():
        if "viewer" in senders:
            assert "client" in senders
        if "client" in senders:
            assert "admin" in senders


def test_a_message_without_an_entry_is_nobodys() -> None:
    assert not any(is_allowed(role, messages.HeldLot) for role in roles.ROLES)


def test_the_refusal_says_what_to_ask_for() -> None:
    refusal = wrong_role("alice", "viewer", messages.AddPipeline)
    assert refusal.code in roles.KEY_CODES
    assert refusal.what == "Your key 'alice' has the role viewer, which may not submit."
    assert refusal.remedy == "Ask for a key with the role client or admin."
    assert "may not send 'welcome'" in wrong_role("bob", "broker", messages.Welcome).what
    assert wrong_role("bob", "broker", messages.Welcome).remedy == "No role may."
    assert "'bob' is not valid any more" in not_valid("bob").what


def test_what_is_written_down() -> None:
    assert act_of(messages.Cancel) == "cancel"
    assert act_of(messages.GetStatus) == act_of(messages.JobsFinished) == ""


def test_every_operation_is_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SENDERS, messages.GetCluster, roles.OPERATE)
    assert act_of(messages.GetCluster) == "get cluster"
