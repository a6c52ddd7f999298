# SPDX-License-Identifier: MIT
"""The queue between threads: bounded in bytes, and nobody waits for the dead."""

from __future__ import annotations

import threading
import time

import pytest
from ansible.module_utils.mendbook.dump_queue import ByteQueue, Stopped, prefetch


def in_thread(function):
    """Run it aside; the list gets its result or its exception."""
    outcome = []

    def run():
        try:
            outcome.append(function())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, outcome


def test_items_come_in_order_and_end():
    queue = ByteQueue(100)
    for number in range(3):
        queue.put(number, 10)
    queue.end()
    assert list(queue) == [0, 1, 2]
    with pytest.raises(Stopped):
        queue.get()


def test_put_waits_while_the_queue_is_full_of_bytes():
    queue = ByteQueue(100)
    queue.put("a", 60)
    thread, _outcome = in_thread(lambda: queue.put("b", 60))
    thread.join(0.05)
    assert thread.is_alive()
    assert queue.get() == "a"
    thread.join(60)
    assert queue.get(timeout=60) == "b"


def test_an_item_larger_than_the_queue_is_let_through_alone():
    queue = ByteQueue(10)
    queue.put("large", 1000)
    with pytest.raises(TimeoutError):
        queue.put("next", 1, timeout=0.01)
    assert queue.get() == "large"
    queue.put("next", 1, timeout=0.01)


def test_what_is_being_worked_on_counts_until_it_is_released():
    queue = ByteQueue(100, until_released=True)
    queue.put("a", 60)
    assert queue.get() == "a"
    with pytest.raises(TimeoutError):
        queue.put("b", 60, timeout=0.01)
    queue.release(60)
    queue.put("b", 60, timeout=0.01)
    assert queue.get() == "b"


def test_get_gives_up_after_its_time():
    with pytest.raises(TimeoutError):
        ByteQueue(1).get(timeout=0.01)


@pytest.mark.parametrize("wait", [lambda queue: queue.get(), lambda queue: queue.put("b", 100)])
def test_a_failure_wakes_whoever_waits(wait):
    queue = ByteQueue(10)
    if wait.__code__.co_names[0] == "put":
        queue.put("a", 10)
    thread, outcome = in_thread(lambda: wait(queue))
    time.sleep(0.02)
    queue.fail(ValueError("dead"))
    thread.join(60)
    assert isinstance(outcome[0], ValueError)


def test_the_first_failure_stays_and_what_was_queued_is_dropped():
    queue = ByteQueue(10)
    queue.put("a", 1)
    queue.fail(ValueError("first"))
    queue.fail(KeyError("second"))
    for use in (queue.get, lambda: queue.put("b", 1)):
        with pytest.raises(ValueError, match="first"):
            use()


def test_prefetch_gives_everything_in_order():
    assert list(prefetch(iter([b"a", b"b" * 100, b"c"]), 10)) == [b"a", b"b" * 100, b"c"]


def test_prefetch_raises_the_producers_error_in_the_consumer():
    def blocks():
        yield b"a"
        raise OSError("disk")

    found = []
    with pytest.raises(OSError, match="disk"):
        for block in prefetch(blocks(), 10):
            found.append(block)
    assert len(found) <= 1


def test_prefetch_does_not_run_ahead_of_its_bound():
    produced = []

    def blocks():
        for number in range(100):
            produced.append(number)
            yield b"x" * 10

    ahead = prefetch(blocks(), 30)
    next(ahead)
    time.sleep(0.05)
    assert len(produced) <= 6
    ahead.close()


def test_closing_prefetch_ends_its_thread_and_closes_the_producer():
    closed = threading.Event()

    def blocks():
        try:
            while True:
                yield b"x" * 10
        finally:
            closed.set()

    before = threading.enumerate()
    ahead = prefetch(blocks(), 30)
    next(ahead)
    named = [thread for thread in threading.enumerate() if thread.name == "mendbook-prefetch"]
    (pump,) = (thread for thread in named if thread not in before)
    ahead.close()
    assert closed.wait(60)
    pump.join(60)
    assert not pump.is_alive()
