"""Gates: their names, and until when they keep claims out."""

from __future__ import annotations

from mainspring.core.records import GATE, Record, closed, queue_gate, task_gate


def test_a_gate_is_closed_until_it_expires() -> None:
    gate = Record(kind=GATE, name=queue_gate("mail"), expires_at=100)
    assert closed(gate, 99)
    assert not closed(gate, 100)
    assert closed(gate.evolve(expires_at=None), 10**15)


def test_a_queue_and_a_task_of_one_name_have_gates_of_their_own() -> None:
    assert queue_gate("x") != task_gate("x")


def test_records_do_not_share_their_value() -> None:
    one, other = Record(kind="k", name="a"), Record(kind="k", name="b")
    one.value["x"] = 1
    assert other.value == {}
