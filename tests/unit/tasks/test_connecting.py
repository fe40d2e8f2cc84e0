"""Who reads whose result."""

from __future__ import annotations

import pytest

from pypelinin.tasks.connecting import Node
from pypelinin.tasks.exceptions import TaskError


def test_calling_adds_parents_and_gives_the_child_back() -> None:
    a, b, c, d = (Node(name) for name in "abcd")
    assert d(c(b(a))) is d
    assert (d.parents, c.parents, b.parents, a.parents) == ([c], [b], [a], [])
    assert (a.children, d.children) == ([b], [])


@pytest.mark.parametrize("way", ["list", "twice", "tuple"])
def test_two_parents_stand_in_the_order_of_connecting(way: str) -> None:
    a, b, child = (Node(name) for name in "abc")
    if way == "twice":
        child(b)(a)
    else:
        child([b, a] if way == "list" else (b, a))
    assert child.parents == [b, a]


def test_the_same_connection_twice_is_one() -> None:
    a, b = Node("a"), Node("b")
    b(a)(a)
    a.connect_child(b)
    assert (b.parents, a.children) == ([a], [b])


def test_children_can_be_connected_from_above() -> None:
    a, b, c = (Node(name) for name in "abc")
    a.connect_child([b, c])
    b.connect(c, as_child=True)
    c.connect(Node("d"), as_child=False)
    assert a.children == [b, c]
    assert [parent.name for parent in c.parents] == ["a", "b", "d"]


def test_letting_go() -> None:
    a, b, c = (Node(name) for name in "abc")
    c(b(a))
    b.disconnect()
    assert (a.children, b.parents, b.children, c.parents) == ([], [], [], [])


@pytest.mark.parametrize(
    ("wrong", "said"), [(Node, "not instantiated: Node"), (3, "not of type Node: 3"), ("a", "'a'")]
)
def test_what_is_no_task_is_refused_as_a_value_error(wrong: object, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        Node("a")(wrong)  # type: ignore[arg-type]  # that is what is tried
    assert isinstance(caught.value, TaskError)


@pytest.mark.parametrize("wrong", [[], [Node("a"), Node("b")]])
def test_one_is_connected_with_one(wrong: list[Node]) -> None:
    with pytest.raises(TaskError, match="not of type Node"):
        Node("a").connect(wrong, as_child=True)  # type: ignore[arg-type]  # that is what is tried
