# SPDX-License-Identifier: MIT
"""The time of the store, which dates everything in it; this machine's clock may be wrong."""

from __future__ import annotations

import datetime
import email.utils
import time

from ansible.module_utils.mendbook import s3
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.plan_text import seconds_text
from ansible.module_utils.mendbook.s3_errors import place

# logs and records of a machine that is further away cannot be put beside those of the store
TOLERANCE_SECONDS = 300


class StoreClock:
    """The store's time from the Date of one answer, going on with a clock that nobody sets meanwhile.

    ``ahead_seconds`` is how far this machine's clock is ahead of the store's.
    """

    def __init__(self, date, now=None, monotonic=time.monotonic):
        here = now or datetime.datetime.now(datetime.timezone.utc)
        try:
            self._base = email.utils.parsedate_to_datetime(date)
        except (TypeError, ValueError):
            raise MendError("The store does not say what time it is: its answer has no Date.", rule="clock") from None
        self._monotonic, self._began = monotonic, monotonic()
        self.ahead_seconds = round((here - self._base).total_seconds())

    def now(self):
        """Return the store's time, an aware datetime."""
        return self._base + datetime.timedelta(seconds=self._monotonic() - self._began)

    def words(self):
        """Return in words how far this machine's clock is from the store's when that is too far, else None."""
        if abs(self.ahead_seconds) <= TOLERANCE_SECONDS:
            return None
        way = "ahead of" if self.ahead_seconds > 0 else "behind"
        return f"the clock of this machine is {seconds_text(abs(self.ahead_seconds))} {way} the store's"


def store_clock(client, bucket):
    """Return the StoreClock; Nothing when there is no such bucket, MendError when it cannot be reached."""
    answer = s3.call(
        lambda: client.head_bucket(Bucket=bucket),
        f"reach {place(bucket)}",
        "s3:ListBucket",
        client.meta.endpoint_url,
        bucket,
    )
    return StoreClock(answer["ResponseMetadata"]["HTTPHeaders"].get("date"))
