"""Which backup is meant, as tables; what is passed over says why."""

from __future__ import annotations

import datetime

import pytest
from ansible.module_utils.mendbook.errors import MendError, Nothing, Refused
from ansible.module_utils.mendbook.s3_backup import Backup
from ansible.module_utils.mendbook.s3_catalogue import Catalogue, Pointer
from ansible.module_utils.mendbook.s3_choice import choose, passed_over


def backup(key, hour, complete=True, version_id=None, reason=None, **more):
    moment = datetime.datetime(2026, 11, 20, hour, tzinfo=datetime.UTC)
    return Backup(
        bucket="b",
        key=key,
        version_id=version_id,
        etag="e",
        size=1,
        last_modified=moment,
        finished=moment,
        finished_from="manifest" if complete else "last_modified",
        sha256=None,
        complete=complete,
        reason=reason or (None if complete else "no manifest beside it"),
        **more,
    )


def of(*backups, pointers=()):
    ordered = sorted(backups, key=lambda b: b.finished, reverse=True)
    return Catalogue("b", "mongo/", ordered, list(pointers), [])


def deleted(hour):
    return datetime.datetime(2026, 11, 20, hour, tzinfo=datetime.UTC)


def test_the_newest_complete_one_is_taken():
    assert choose(of(backup("m/1", 1), backup("m/2", 2))).key == "m/2"


def test_a_newer_one_that_may_be_unfinished_is_passed_over_and_named():
    found = of(backup("m/1", 1), backup("m/2", 2, None), backup("m/3", 3, False, reason="it has 0 bytes"))
    chosen = choose(found)
    assert chosen.key == "m/1"
    assert [(p["key"], p["reason"]) for p in passed_over(found, chosen)] == [
        ("m/3", "it has 0 bytes"),
        ("m/2", "no manifest beside it"),
    ]


def of_database(key, hour, *databases, **more):
    """A complete backup whose manifest has collections of these databases."""
    return backup(key, hour, manifest={"databases": list(databases)}, **more)


def test_neighbours_of_another_database_are_left_out_and_named():
    found = of(
        of_database("m/estore-1", 1, "estore"), of_database("m/big-2", 2, "big"), of_database("m/big-3", 3, "big")
    )
    chosen = choose(found, database="estore")
    assert chosen.key == "m/estore-1"
    assert [(p["key"], p["reason"]) for p in passed_over(found, chosen, "estore")] == [
        ("m/big-3", "it is of another database: big, not estore"),
        ("m/big-2", "it is of another database: big, not estore"),
    ]
    assert choose(found, database="big", at="2026-11-20T02:30:00Z").key == "m/big-2"
    assert choose(found).key == "m/big-3"


def test_one_backup_of_several_databases_is_of_each_of_them():
    found = of(of_database("m/all", 2, "big", "estore"), of_database("m/estore", 1, "estore"))
    assert choose(found, database="estore").key == "m/all"


def test_a_manifest_that_does_not_say_of_which_database_leaves_nothing_out():
    found = of(backup("m/2", 2, manifest={"databases": []}), of_database("m/1", 1, "estore"))
    assert choose(found, database="estore").key == "m/2"


def test_where_only_neighbours_have_manifests_the_newest_without_one_is_taken():
    found = of(of_database("m/big-3", 3, "big"), backup("m/2", 2, None), backup("m/1", 1, None))
    assert choose(found, database="estore").key == "m/2"


def test_only_neighbours_are_nothing_and_their_databases_are_named():
    found = of(of_database("m/big-1", 1, "big"), of_database("m/shop-2", 2, "shop", "crm"))
    with pytest.raises(
        Nothing, match=r"under s3://b/mongo/ is of the database estore: they are of big, crm, shop"
    ) as no:
        choose(found, database="estore")
    assert no.value.rule == "source_database"


def test_the_oldest_that_is_named_for_a_moment_too_early_is_one_of_the_database():
    found = of(of_database("m/big-1", 1, "big"), of_database("m/estore-5", 5, "estore"))
    with pytest.raises(Nothing, match=r"of the database estore was finished at or before .* The oldest is m/estore-5"):
        choose(found, at="2026-11-20T02:00:00Z", database="estore")


def test_what_is_named_is_taken_whatever_database_it_is_of():
    found = of(
        of_database("m/estore-1", 1, "estore"),
        of_database("m/big-2", 2, "big", version_id="v"),
        pointers=[Pointer("m/latest", ("big-2", None))],
    )
    for named in ({"key": "m/big-2"}, {"key": "m/big-2", "version_id": "v"}, {"latest": True}):
        assert choose(found, **named, database="estore").key == "m/big-2"


def test_where_nobody_writes_manifests_the_newest_is_taken():
    assert choose(of(backup("m/1", 1, None), backup("m/2", 2, None))).key == "m/2"


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-11-20T02:00:00Z", "m/2"),
        ("2026-11-20T01:59:59Z", "m/1"),
        ("2026-11-20T03:30:00+01:00", "m/2"),
        ("2027-01-01T00:00:00Z", "m/3"),
    ],
)
def test_at_takes_the_newest_at_or_before_the_moment(at, expected):
    assert choose(of(backup("m/1", 1), backup("m/2", 2), backup("m/3", 3)), at=at).key == expected


def test_at_before_the_oldest_says_which_the_oldest_is():
    with pytest.raises(Nothing, match=r"The oldest is m/5, of 2026-11-20T05:00:00Z"):
        choose(of(backup("m/5", 5), backup("m/6", 6)), at="2026-11-20T04:59:59Z")


def test_an_older_version_is_taken_when_it_is_the_newest_before_the_moment():
    found = of(backup("latest.dump", 9, None, "v2"), backup("latest.dump", 3, None, "v1", current=False))
    assert choose(found, at="2026-11-20T08:00:00Z").version_id == "v1"


def test_an_empty_prefix_is_nothing():
    with pytest.raises(Nothing, match="There is no backup under s3://b/mongo/"):
        choose(of())


def test_only_incomplete_ones_are_nothing_and_the_newest_reason_is_said():
    with pytest.raises(Nothing, match=r"all 2 have something against them. The newest, m/2: it has 0 bytes"):
        choose(of(backup("m/1", 1, False, reason="x"), backup("m/2", 2, False, reason="it has 0 bytes")))


def test_deleted_ones_are_never_taken_unasked():
    with pytest.raises(Nothing, match="Every backup under s3://b/mongo/ was deleted"):
        choose(of(backup("m/1", 1, version_id="v", deleted=deleted(2))))


def test_a_deleted_key_says_when_and_which_version_is_left():
    found = of(backup("m/1", 1, version_id="v1", deleted=deleted(2)))
    with pytest.raises(Nothing, match=r"m/1 was deleted at 2026-11-20T02:00:00Z.*version_id v1"):
        choose(found, key="m/1")
    assert choose(found, key="m/1", version_id="v1").version_id == "v1"


def test_a_named_key_is_its_current_version():
    found = of(backup("k", 1, version_id="old", current=False), backup("k", 2, version_id="new"))
    assert choose(found, key="k").version_id == "new"
    assert choose(found, key="k", version_id="old").version_id == "old"


def test_a_named_version_that_is_not_there_lists_those_that_are():
    with pytest.raises(Nothing, match="There is no version v9 of s3://b/k; there are v1"):
        choose(of(backup("k", 1, version_id="v1")), key="k", version_id="v9")


def test_a_misspelt_key_is_told_its_nearest():
    found = of(backup("mongo/2026-11-20.archive.gz", 1), backup("mongo/notes.txt", 2))
    with pytest.raises(Nothing, match=r"nearest keys are mongo/2026-11-20.archive.gz"):
        choose(found, key="mongo/2026-11-20.arhive.gz")


def test_a_named_backup_that_is_not_complete_is_refused_with_the_reason():
    with pytest.raises(Refused, match=r"is not complete: it has 5 bytes.*Choose another") as caught:
        choose(of(backup("k", 1, False, reason="it has 5 bytes, its manifest says 6")), key="k")
    assert caught.value.rule == "incomplete"


def test_a_named_backup_without_a_manifest_is_taken():
    assert choose(of(backup("new", 2), backup("k", 1, None)), key="k").key == "k"


def test_latest_is_the_dump_itself_when_it_is_one():
    assert (
        choose(of(backup("mongo/latest.dump", 1, None), backup("mongo/2", 2)), latest=True).key == "mongo/latest.dump"
    )


@pytest.mark.parametrize("target", ["mongo/a.gz", "a.gz"])
def test_latest_is_what_the_pointer_names_whole_or_beside_it(target):
    found = of(backup("mongo/a.gz", 1), backup("mongo/b.gz", 2), pointers=[Pointer("mongo/latest", (target, None))])
    assert choose(found, latest=True).key == "mongo/a.gz"
    assert choose(found, key="mongo/latest").key == "mongo/a.gz"


def test_a_pointer_to_a_version_takes_that_version():
    found = of(
        backup("mongo/a.gz", 2, version_id="v2"),
        backup("mongo/a.gz", 1, version_id="v1", current=False),
        pointers=[Pointer("mongo/latest.json", ("mongo/a.gz", "v1"))],
    )
    assert choose(found, latest=True).version_id == "v1"


def test_a_missing_latest_names_the_newest_and_the_nearest():
    with pytest.raises(Nothing, match=r"There is no latest under s3://b/mongo/.*newest is mongo/2, of") as caught:
        choose(of(backup("mongo/2", 2)), latest=True)
    assert caught.value.rule == "latest"


def test_a_deleted_latest_says_when():
    found = of(backup("mongo/latest.dump", 1, None, version_id="v", deleted=deleted(5)), backup("mongo/2", 2))
    with pytest.raises(Nothing, match=r"any more: mongo/latest.dump was deleted at 2026-11-20T05"):
        choose(found, latest=True)


def test_a_pointer_into_nothing_names_both_keys():
    found = of(backup("mongo/2", 2), pointers=[Pointer("mongo/latest", ("mongo/gone.gz", None))])
    with pytest.raises(Nothing, match=r"mongo/latest names mongo/gone.gz. There is no backup s3://b/mongo/gone.gz"):
        choose(found, latest=True)


def test_a_pointer_out_of_the_prefix_finds_nothing():
    found = of(backup("mongo/2", 2), pointers=[Pointer("mongo/latest", ("other/shop.gz", None))])
    with pytest.raises(Nothing, match="s3://b/other/shop.gz is not under the prefix 'mongo/'"):
        choose(found, latest=True)


def test_a_key_out_of_the_prefix_is_not_denied():
    with pytest.raises(Nothing, match="set the prefix to where it lies"):
        choose(of(backup("mongo/2", 2)), key="weekly/estore.gz")


def test_a_hostile_pointer_is_refused_and_never_falls_back():
    found = of(backup("mongo/2", 2), pointers=[Pointer("mongo/latest", MendError("hostile", rule="pointer"))])
    with pytest.raises(MendError, match="hostile"):
        choose(found, latest=True)


def test_a_latest_that_is_not_complete_is_refused():
    with pytest.raises(Refused, match="is not complete"):
        choose(of(backup("latest.dump", 1, False, reason="it has 0 bytes"), backup("a", 2)), latest=True)


def test_several_latest_are_refused_and_named():
    found = of(backup("latest.dump", 1, None), backup("latest.tar", 2, None))
    with pytest.raises(Refused, match="latest.dump, latest.tar"):
        choose(found, latest=True)


def test_the_latest_nearest_to_the_prefix_is_meant():
    found = of(backup("mongo/latest.dump", 1, None), backup("mongo/test/latest.dump", 2, None))
    assert choose(found, latest=True).key == "mongo/latest.dump"


def test_hostile_keys_reach_messages_escaped():
    with pytest.raises(Nothing) as caught:
        choose(of(backup("a\x1b[2J\u202eb", 1)), key="a\x1b[2J")
    assert caught.value.msg.isprintable()
