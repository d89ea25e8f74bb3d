from __future__ import annotations

from sfam.app.message_queue import MessageQueue


def test_messages_come_in_order() -> None:
    queue = MessageQueue(3)
    for number in range(3):
        queue.put("score", number)
    assert [queue.take() for _ in range(len(queue))] == [("score", 0), ("score", 1), ("score", 2)]
    assert queue.losses() == ""


def test_the_commonest_kind_gives_way_oldest_first_and_is_counted() -> None:
    queue = MessageQueue(4)
    queue.put("source", "ring")
    for number in range(9):
        queue.put("result", number)
    queue.put("marker", "trial 1")
    assert [queue.take() for _ in range(len(queue))] == [
        ("source", "ring"),
        ("result", 7),
        ("result", 8),
        ("marker", "trial 1"),
    ]
    assert queue.losses() == "7 result"
    assert queue.losses() == "", "each is told once"
