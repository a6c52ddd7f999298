# SPDX-License-Identifier: MIT
"""Keys that are no cache by the look of them: sessions, queues, locks, rate limits, carts. Pure."""

from __future__ import annotations

import re
from collections import Counter

from .plan_text import clean

# What such keys are called. A word counts between two characters that are no letters (sess:1, prod:lock, cart-7) and
# at a capital inside a name (userSession:1); a word with other characters in it as it stands.
_WORDS = {
    "sessions": "sess session sessions sid phpredis_session session_id token tokens jwt oauth login logins "
    "sessionid sessionids jsessionid usersession usersessions authtoken accesstoken refreshtoken",
    "queues": "queue queues queued bull bullmq bq celery kombu unacked sidekiq resque rq arq kue job jobs task tasks "
    "stream streams mq outbox inbox horizon hangfire dramatiq huey taskiq asynq faktory delayed reserved dlq worker "
    "workers",
    "locks": "lock locks locked mutex mutexes redlock redlocks dlock shedlock semaphore semaphores leader lease leases "
    "idempotency",
    "rate_limits": "rate ratelimit ratelimits ratelimiter rl throttle throttles throttling limit limits limiter quota "
    "quotas rack::attack attempts",
    "carts": "cart carts basket baskets checkout checkouts shoppingcart shoppingcarts",
}  # fmt: skip
KINDS = tuple(_WORDS)
# Sidekiq has no prefix of its own
_WHOLE = {b"retry": "queues", b"schedule": "queues", b"dead": "queues", b"processes": "queues"}
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_REMEMBERED = 10_000
_SEPARATORS = re.compile(rb"[:|/.\s]")
_PREFIX_BYTES = 40
_SHOWN_BYTES = 400


class Recognizer:
    """Tells by their names what keys are; knows only the kinds that it is asked for."""

    def __init__(self, kinds=KINDS):
        words = {word: kind for kind in kinds for word in _WORDS[kind].split()}
        self._kind_of = {word.encode(): kind for word, kind in words.items()}
        self._whole = {name: kind for name, kind in _WHOLE.items() if kind in kinds}
        # a long search for any of the words in many keys at once is what makes looking at a million cheap
        stems = {word for word in self._kind_of if not any(word != other and other in word for other in self._kind_of)}
        self._stems = tuple(stems | set(self._whole))
        listed = sorted(self._kind_of, key=len, reverse=True)
        any_word = b"|".join(map(re.escape, listed))
        capital = b"|".join(re.escape(word.capitalize()) for word in listed)
        self._words = re.compile(rb"(?<![A-Za-z])(?i:(%s))(?![a-z])|(?<=[a-z0-9])(%s)(?![a-z])" % (any_word, capital))

        self._plain = set()

    def any_in(self, keys):
        """Whether one of these keys (bytes) may be of such a kind; a quick look that may be wrong when it says yes."""
        # keys of one application differ in their numbers, and no word has one
        shapes = {key.translate(_DIGITS) for key in keys} - self._plain
        blob = b"\n".join(shapes).lower()
        found = any(stem in blob for stem in self._stems)
        if not found:
            if len(self._plain) > _REMEMBERED:
                self._plain.clear()
            self._plain |= shapes
        return found

    def kind(self, key):
        """Return the kind of a key, or None."""
        whole = self._whole.get(key)
        found = None if whole or not self._stems else self._words.search(key)
        return whole or (found and self._kind_of[(found.group(1) or found.group(2)).lower()])

    def split(self, keys):
        """Return the keys of none of these kinds, and how many there are of each kind."""
        if not self.any_in(keys):
            return keys, Counter()
        plain, kinds = [], Counter()
        for key in keys:
            kind = self.kind(key)
            if kind is None:
                plain.append(key)
            else:
                kinds[kind] += 1
        return plain, kinds


def kind_of_value(type_name, ttl_seconds, groups):
    """Return the kind of a value by what it is, or None: a queue is a stream with readers, or a list that never ends.

    ``type_name`` is the answer of TYPE, ``ttl_seconds`` negative for a key that does not expire, ``groups`` how many
    consumer groups a stream has.
    """
    if type_name == b"stream" and groups:
        return "queues"
    return "queues" if type_name == b"list" and ttl_seconds < 0 else None


def shown(key):
    """A key as text for people: printable, and not longer than they can read."""
    return clean(key[:_SHOWN_BYTES].decode("utf-8", "backslashreplace"), 80)


def prefix_of(key):
    """What a key's name begins with, up to its first separator, as shown text; a key without one has none."""
    found = _SEPARATORS.search(key, 0, _PREFIX_BYTES)
    return shown(key[: found.end()]) if found else "(no prefix)"
