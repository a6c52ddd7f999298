"""Keys that are no cache, by their names and by what they are."""

import pytest
from ansible.module_utils.mendbook.redis_kinds import KINDS, Recognizer, kind_of_value, prefix_of, shown

NAMED = [
    ("sessions", "sess:Xy12 session:1 prod:session:1 userSession:1 SESSION_ID:4 spring:session:sessions:ab "
     "PHPREDIS_SESSION:q _session_id:2::ab laravel_session:1 django.contrib.sessions.cacheab refresh_token:7 "
     "oauth:access:1 jwt:1 user-sessions sessionid:ab JSESSIONID:ab usersession:1 accessToken:1 accesstoken:1"),
    ("queues", "bull:mail:wait bullmq:1 celery _kombu.binding.celery unacked_index sidekiq:stat queue:default "
     "laravel_database_queues:default resque:worker:1 rq:job:1 orders.outbox retry dead jobs {q}:queue stream:orders "
     "asynq:{default}:pending"),
    ("locks", "lock:order:1 order:1:lock redlock:a shedlock:b mutex stockLock:7 lease/leader idempotency-key:1"),
    ("rate_limits", "rate:10.0.0.1 ratelimit:user:1 rack::attack:1:req/ip throttle:a api_quota:7 limit:login"),
    ("carts", "cart:1 shoppingCart:1 basket-7 checkout:9 CART|1 shoppingcart:1"),
]  # fmt: skip
PLAIN = (
    b"cache:product:1 obsession:1 possession blocks:7 clockwork corporate:1 pirate cartography:1 retry:1 deadline "
    b"warlock:1 processes:1 basketball:2 migrate:1 tokenizer:x sidebar bullet:1 cascade upstream downstreams"
).split()


@pytest.mark.parametrize(("kind", "names"), NAMED, ids=KINDS)
def test_what_names_tell(kind, names):
    recognizer = Recognizer()
    assert {name: recognizer.kind(name.encode()) for name in names.split()} == dict.fromkeys(names.split(), kind)
    # a kind that is named may go, and is no longer looked for
    assert Recognizer([other for other in KINDS if other != kind]).kind(names.split()[0].encode()) is None


def test_words_inside_other_words_tell_nothing():
    recognizer = Recognizer()
    assert {name: kind for name in PLAIN if (kind := recognizer.kind(name))} == {}


def test_the_quick_look_never_misses_what_the_careful_one_finds():
    for _kind, names in NAMED:
        for name in names.split():
            recognizer = Recognizer()
            # the names before it must not make it blind for this one
            recognizer.split([b"cache:%d" % n for n in range(100)])
            assert recognizer.any_in([b"cache:1", name.encode(), b"cache:2"]), name


def test_what_is_spared_is_counted_by_kind():
    keys = [b"cache:1", b"sess:1", b"cache:2", b"sess:2", b"a:lock"]
    assert Recognizer().split(keys) == ([b"cache:1", b"cache:2"], {"sessions": 2, "locks": 1})
    assert Recognizer(["locks"]).split(keys) == ([b"cache:1", b"sess:1", b"cache:2", b"sess:2"], {"locks": 1})
    assert Recognizer([]).split(keys) == (keys, {})


def test_numbers_that_differ_are_one_shape_and_a_word_beside_a_number_is_still_seen():
    recognizer = Recognizer()
    assert not recognizer.any_in([b"v1cache:17"])
    assert recognizer.split([b"v1cache:18", b"v2Cart:9"]) == ([b"v1cache:18"], {"carts": 1})


def test_many_shapes_are_forgotten_and_nothing_is_missed():
    recognizer = Recognizer()
    for start in range(0, 30_000, 1000):
        letters = [b"cache:" + bytes(97 + int(digit) for digit in str(n)) for n in range(start, start + 1000)]
        assert recognizer.split([*letters, b"sess:1"])[1] == {"sessions": 1}
    assert len(recognizer._plain) <= 12_000


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        ((b"stream", -1, 1), "queues"),
        ((b"stream", 60_000, 2), "queues"),
        ((b"stream", -1, 0), None),
        ((b"list", -1, False), "queues"),
        ((b"list", 60_000, False), None),
        ((b"string", -1, False), None),
        ((b"hash", -1, False), None),
        ((b"none", -2, False), None),
    ],
)
def test_what_values_tell(facts, kind):
    assert kind_of_value(*facts) == kind


@pytest.mark.parametrize(
    ("key", "prefix"),
    [
        (b"cache:product:1", "cache:"),
        (b"a/b", "a/"),
        (b"plain", "(no prefix)"),
        (b"", "(no prefix)"),
        (b"x" * 65536 + b":1", "(no prefix)"),
        (b"\x1b[31m:1", "\\x1b[31m:"),
        (b"\xff\xfe:1", "\\xff\\xfe:"),
        (b"two\nlines:1", "two\\n"),
    ],
)
def test_a_prefix_is_short_and_printable(key, prefix):
    assert prefix_of(key) == prefix


def test_a_key_is_shown_printable_and_short():
    assert shown(b"a\n\x00\xff\x1b" + "\u202e".encode()) == "a\\n\\x00\\xff\\x1b\\u202e"
    assert len(shown(b"k" * 65536)) <= 80
