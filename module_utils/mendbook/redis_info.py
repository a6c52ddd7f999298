# SPDX-License-Identifier: MIT
"""What mend_redis_info tells: what takes the memory, who is slow, who is connected, what is lost, and is that good?"""

from __future__ import annotations

from contextlib import contextmanager, suppress

import redis

from . import redis_options
from .errors import MendError, Refused
from .redis_client import connect
from .redis_facts import facts_of
from .redis_lock import holder
from .redis_look import look
from .redis_nodes import topology
from .redis_verdicts import headline, summary, verdicts
from .verdicts import culprit, overall, require


class RedisInfo:
    """The reading procedure of mend_redis_info (change.py says what each method promises)."""

    def __init__(self, params):
        self.params = params

    def secrets(self, params):
        return redis_options.secrets_in(params)

    @contextmanager
    def open(self, params):
        if params["interval_seconds"] <= 0:
            raise MendError("interval_seconds: rates need two looks, some seconds apart", rule="options")
        with connect(params) as access:
            yield access

    def observe(self, access):
        found = topology(access)
        facts = facts_of(found, look(access, found, self.params), access.name, self.params)
        facts["lock"] = {}
        # whoever may not look has been told so already, as one who may not see the clients
        with suppress(Refused, redis.ResponseError):
            facts["lock"] = holder(access, [node for node in found.masters if node.client]) or {}
        judged = verdicts(facts, self.params)
        told = {
            "headline": headline(facts, judged),
            "summary": summary(facts, judged),
            "verdict": overall(judged),
            "culprit": culprit(judged),
            "verdicts": judged,
        }
        if self.params["fail"]:
            require(judged, {**told, "target": facts["target"]})
        return {**told, **facts}
