"""The history: bounds of number and memory, and events for subscribers."""

from __future__ import annotations

import pytest

from tests.support.recordings import head, recording
from wagi_gateway.dev import history as history_module
from wagi_gateway.dev.capture import MAX_CAPTURE
from wagi_gateway.dev.history import MAX_MEMORY, MAX_RECORDINGS, History


def test_the_last_200_are_kept() -> None:
    history = History()
    for _ in range(MAX_RECORDINGS + 5):
        recording(history=history)
    numbers = [one.number for one in history]
    assert numbers == list(range(6, MAX_RECORDINGS + 6))
    assert history.get(5) is None
    assert history.get(6) is not None


def test_large_bodies_drop_the_oldest() -> None:
    history = History()
    for _ in range(100):
        recording(history=history, body=bytes(MAX_CAPTURE), stdout=bytes(MAX_CAPTURE))
        assert history.held <= MAX_MEMORY
    assert [one.number for one in history] == list(range(100 - 29, 101))


def test_requests_in_flight_are_cut_off_in_place_of_growing() -> None:
    history = History()
    for _ in range(100):
        one = history.begin(head(), None, 0)
        one.body.feed(bytes(MAX_CAPTURE))
        assert history.held <= MAX_MEMORY
    assert one.body.is_cut


def test_many_header_fields_count() -> None:
    history = History()
    fields = [(b"x-%d" % index, bytes(200)) for index in range(250)]
    for _ in range(MAX_RECORDINGS):
        recording(head(fields=fields), history=history)
    assert history.held <= MAX_MEMORY
    assert len(list(history)) < MAX_RECORDINGS


def test_the_previous_request_of_a_route_is_found() -> None:
    history = History()
    first, other, last = (recording(history=history) for _ in range(3))
    first.environ = other.environ = {b"A": b"1"}
    other.route = "/y"
    assert history.previous(last) is first
    assert history.previous(first) is None


def test_clear_keeps_what_runs() -> None:
    history = History()
    recording(history=history)
    running = history.begin(head(), None, 0)
    history.clear()
    assert list(history) == [running]


def test_subscribers_see_events_and_slow_ones_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "_MAX_PENDING", 2)
    history = History()
    with history.subscribed() as queue:
        assert history.subscribers == 1
        for number in range(3):
            history.publish({"type": str(number)})
        assert queue.get_nowait() == {"type": "resync"}
        assert queue.empty()
    assert history.subscribers == 0


def test_a_dropped_request_that_still_runs_takes_no_memory() -> None:
    history = History(limit=1)
    running = history.begin(head(), None, 0)
    recording(history=history)
    running.stdout.feed(b"late")
    running.redirect("/y")
    running.stdout.feed(b"later")
    assert history.budget.used == 0
