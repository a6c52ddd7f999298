"""What orders that came back say about a backup: of one moment or not, and how much time is gone."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from mendbook.drills.rehearsal import lost_seconds
from mendbook.drills.shop import LIVE_FROM, Shop, live_order, live_payment
from mendbook.errors import VerifyFailed

NOON = datetime(2026, 3, 1, 12)
TIMES = [NOON + timedelta(seconds=number) for number in range(10)]


def came_back(orders, payments):
    return (
        [live_order(number, TIMES[number]) for number in orders],
        [live_payment(number, TIMES[number]) for number in payments],
    )


@pytest.mark.parametrize(
    ("orders", "payments", "seconds"),
    [(range(6), range(6), 4.0), (range(6), range(5), 4.0), (range(10), range(10), 0.0), (range(1), range(0), 9.0)],
)
def test_the_first_orders_with_their_payments_are_a_moment(orders, payments, seconds):
    assert lost_seconds(*came_back(orders, payments), TIMES) == seconds


@pytest.mark.parametrize(
    ("orders", "payments", "words"),
    [
        ([0, 1, 3], [0, 1], "not those that were acknowledged first"),
        ([1, 2], [1, 2], "not those that were acknowledged first"),
        ([0, 1, 2], [0, 2], "not of one moment"),
        ([0, 1, 2], [0], "not of one moment"),
        ([0, 1], [0, 1, 2], "not of one moment"),
        ([], [], "no order came back"),
        ([], [0], "not of one moment"),
    ],
)
def test_a_gap_or_a_payment_without_its_order_is_none(orders, payments, words):
    with pytest.raises(VerifyFailed, match=words):
        lost_seconds(*came_back(orders, payments), TIMES)


@pytest.mark.parametrize("place", [0, 1])
def test_a_document_that_is_not_as_it_was_written_is_found(place):
    found = came_back(range(3), range(3))
    found[place][1]["amount"] = found[place][1]["total"] = "0.00"
    with pytest.raises(VerifyFailed):
        lost_seconds(*found, TIMES)


def test_what_is_written_during_a_drill_is_told_from_what_was_there_by_its_id():
    assert live_order(0, datetime(2026, 1, 1, 0, 0, 1))["_id"] > LIVE_FROM


@pytest.mark.parametrize("scale", [1e-9, 0.01, 1, 50])
def test_a_scale_makes_that_many_documents_and_never_none(scale):
    made = Shop(1, scale)
    assert made.documents == sum(made.counts.values()) and min(made.counts.values()) >= 10
    assert made.counts["orders"] == max(10, round(10_000 * scale))
