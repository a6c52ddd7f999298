# SPDX-License-Identifier: MIT
"""The shop's customers: orders and payments in a row, each remembered with its time once it was acknowledged."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from mendbook.drills.shop import DATABASE, live_order, live_payment
from mendbook.errors import Failed

# a shop with 50 orders a second: enough to lose some, and no load
_PAUSE_SECONDS = 0.02
_WAIT_SECONDS = 60


class Writer:
    """Writes until the ``with`` block is left or ``stop`` is called; ``acknowledged`` has the time of each order.

    One order after the other, and its payment after it: whoever reads one moment of the database finds the orders
    without a gap, and all of their payments but perhaps the last.
    """

    def __init__(self, uri: str) -> None:
        self.acknowledged: list[datetime] = []
        self._uri = uri
        self._enough = threading.Event()
        self._moved = threading.Condition()
        self._error: PyMongoError | None = None
        self._thread = threading.Thread(target=self._write, name="customers", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._enough.set()
        self._thread.join(_WAIT_SECONDS)

    def stop(self) -> None:
        """Write no more; raises Failed when the server took no more writes before."""
        self._enough.set()
        self._thread.join(_WAIT_SECONDS)
        self._raise_error()

    def wait_for(self, more: int) -> None:
        """Return when ``more`` further orders were acknowledged; Failed when the server does not take them."""
        with self._moved:
            until = len(self.acknowledged) + more
            self._moved.wait_for(lambda: len(self.acknowledged) >= until or self._error is not None, _WAIT_SECONDS)
            self._raise_error()
            if len(self.acknowledged) < until:
                raise Failed(f"the shop could not write {more} orders in {_WAIT_SECONDS} seconds")

    def _raise_error(self) -> None:
        if self._error is not None:
            raise Failed(f"the shop could not go on writing: {self._error}") from self._error

    def _write(self) -> None:
        try:
            client: MongoClient[dict[str, Any]] = MongoClient(self._uri, serverSelectionTimeoutMS=10_000)
            with client:
                while not self._enough.wait(_PAUSE_SECONDS):
                    self._place(client, len(self.acknowledged))
        except PyMongoError as error:
            with self._moved:
                self._error = error
                self._moved.notify_all()

    def _place(self, client: MongoClient[dict[str, Any]], number: int) -> None:
        now = datetime.now(UTC).replace(tzinfo=None)
        # MongoDB keeps milliseconds
        at = now.replace(microsecond=now.microsecond // 1000 * 1000)
        client[DATABASE]["orders"].insert_one(live_order(number, at))
        client[DATABASE]["payments"].insert_one(live_payment(number, at))
        with self._moved:
            self.acknowledged.append(at)
            self._moved.notify_all()
