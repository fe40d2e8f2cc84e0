"""Options that commands share."""

from __future__ import annotations

from typing import Any

import click
import pytest

from pypelinin.cli import options
from pypelinin.cli.which import Reach


def called(command: click.Command, *arguments: str) -> Any:
    with command.make_context("pypelinin verb", list(arguments), obj={}) as ctx:
        return command.invoke(ctx)


@options.verb("verb")
@options.reach
@options.json_option
def verb(reach: Reach, as_json: bool) -> tuple[Reach, bool]:
    """Says what it got."""
    return reach, as_json


def test_reach_comes_as_one() -> None:
    assert called(verb) == (Reach(None, None, quiet=False), False)
    given = ("--api", "tcp://h:1", "--deadline", "2.5", "-q", "--json")
    assert called(verb, *given) == (Reach("tcp://h:1", 2.5, quiet=True), True)


def test_a_deadline_is_above_zero() -> None:
    with pytest.raises(click.BadParameter):
        called(verb, "--deadline", "0")


def test_debug_and_the_commands_name_are_noted() -> None:
    notes: dict[str, Any] = {}
    with verb.make_context("pypelinin verb", ["--debug"], obj=notes) as ctx:
        verb.invoke(ctx)
    assert notes == {"debug": True, "command": "pypelinin verb"}


@options.verb("serve")
@options.slots_option
@options.workers_option
@options.insecure_option
@options.logging_options
def serve(**flags: Any) -> dict[str, Any]:
    """Says what it got."""
    return flags


def test_what_is_not_given_is_empty() -> None:
    nothing = {"slots": None, "workers": (), "insecure": None, "log_format": None}
    assert called(serve) == {**nothing, "log_level": None}


def test_what_is_given_arrives() -> None:
    found = called(serve, "--workers", "a", "--workers", "b", "--slots", "3", "--insecure")
    assert (found["workers"], found["slots"], found["insecure"]) == (("a", "b"), 3, True)


@pytest.mark.parametrize("slots", ["0", "-1", "two", "1.5", "10001"])
def test_slots_are_a_number_within_bounds(slots: str) -> None:
    with pytest.raises(click.BadParameter):
        called(serve, "--slots", slots)
