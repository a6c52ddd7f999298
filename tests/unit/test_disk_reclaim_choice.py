"""Which files go and which stay, as tables: open ones, the newest backups, the target of free space."""

from __future__ import annotations

import pytest
from ansible.module_utils.mendbook.disk_in_use import KERNEL
from ansible.module_utils.mendbook.disk_reclaim_choice import allocated, choose, goal, largest
from disk_batches import NOTHING_ASKED, a_batch, a_root, a_rule, a_space, inode_of, with_files
from hypothesis import given
from hypothesis import strategies as st

LOG = a_rule()
BACKUP = a_rule("backups", keep_newest=2, root="/var/backups")


def choice_of(*batches, opened=(), pid=8, space=None, **params):
    """The choice, with names in ``opened`` open in the first batch."""
    held = {(batches[0].root.device, inode_of(batches[0], name)): pid for name in opened}
    spaces = {batch.root.device: space or a_space() for batch in batches}
    return choose(list(batches), held, spaces, {**NOTHING_ASKED, **params})


def removed(choice):
    return sorted(name for batch in choice.removals for name in batch.names)


def emptied(choice):
    return sorted(name for batch in choice.emptied for name in batch.names)


def test_without_a_target_all_that_is_old_goes():
    choice = choice_of(a_batch(("a", 1), ("b", 0)), a_batch(("c", 5), folder="d"))
    assert removed(choice) == ["a", "b", "c"] and allocated(choice.batches) == 6 * 512


def test_what_is_open_stays_and_is_told():
    choice = choice_of(a_batch(("a", 1), ("b", 2), ("c", 3)), opened=["b"])
    assert removed(choice) == ["a", "c"]
    assert [(name, blocks) for _, name, _, blocks in choice.held] == [("b", 2)]


def test_a_file_with_the_number_of_an_open_one_on_another_disk_goes():
    first = a_batch(("a", 1), root=a_root(device=1))
    other = a_batch(("b", 1), root=a_root("/tmp", device=2))
    other.inodes[0] = first.inodes[0]
    assert removed(choice_of(first, other, opened=["a"])) == ["b"]


@pytest.mark.parametrize(
    ("days", "is_open", "kind", "asked", "goes", "is_emptied"),
    [
        (0, True, "logs", 1, False, True),
        (9, True, "logs", 1, False, True),
        (0, False, "logs", 1, False, False),
        (9, False, "logs", 1, True, False),
        (9, True, "cache", 1, False, False),
        (9, True, "temporary", 1, False, False),
        (9, True, "backups", 1, False, False),
    ],
)
def test_an_open_log_is_emptied_however_young_and_nothing_else_is(days, is_open, kind, asked, goes, is_emptied):
    batch = with_files(a_batch(rule=a_rule(kind)), ("a", days, 4096))
    choice = choice_of(batch, opened=["a"] if is_open else [], truncate_bytes=asked)
    assert (removed(choice) == ["a"], emptied(choice) == ["a"]) == (goes, is_emptied)


@pytest.mark.parametrize(("days", "told"), [(0, []), (9, ["a"])])
def test_what_the_kernel_has_open_is_never_emptied(days, told):
    batch = with_files(a_batch(), ("a", days, 4096))
    choice = choice_of(batch, opened=["a"], pid=KERNEL, truncate_bytes=1)
    assert (removed(choice), emptied(choice), [name for _, name, _, _ in choice.held]) == ([], [], told)


@pytest.mark.parametrize(
    ("files", "gone"),
    [
        # the two newest stay, although all are old
        ([("shop-2026-01-01.gz", 90, 9), ("shop-2026-01-02.gz", 89, 9), ("shop-2026-01-03.gz", 88, 9)], [1]),
        # fewer than the minimum
        ([("shop-2026-01-01.gz", 90, 9)], []),
        # a young one counts as kept
        ([("shop-2026-01-01.gz", 90, 9), ("shop-2026-01-02.gz", 89, 9), ("shop-2026-01-03.gz", 0, 9)], [1]),
        # empty and unfinished ones do not
        ([("shop-2026-01-01.gz", 90, 9), ("shop-2026-01-02.gz", 89, 9), ("shop-2026-01-03.gz", 88, 0)], []),
        ([("shop-2026-01-01.gz", 90, 9), ("shop-2026-01-02.gz", 89, 9), ("shop-2026-01-03.gz.tmp", 88, 9)], []),
        # and go when there is a newer one
        ([("shop-2026-01-01.gz", 90, 0), ("shop-2026-01-02.gz", 89, 9), ("shop-2026-01-03.gz", 88, 9)], [1]),
        # the newest of all stays even where nothing is whole
        ([("shop-2026-01-01.gz", 90, 0), ("shop-2026-01-02.gz", 89, 0)], [1]),
        # each row has its own minimum
        (
            [("a-2026-01-01.gz", 90, 9), ("b-2026-01-01.gz", 90, 9), ("b-2026-01-02.gz", 89, 9)]
            + [("b-2026-01-03.gz", 88, 9)],
            [2],
        ),
    ],
)
def test_of_backups_the_newest_of_each_row_stay(files, gone):
    choice = choice_of(with_files(a_batch(rule=BACKUP), *files))
    assert removed(choice) == [files[number - 1][0] for number in gone]


def test_a_folder_for_each_day_is_one_row():
    batches = [
        with_files(a_batch(rule=BACKUP, folder=f"2026-01-{day:02}"), ("shop.gz", 90 - day, 9)) for day in range(1, 6)
    ]
    choice = choice_of(*batches)
    assert [batch.folder for batch in choice.removals] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    assert choice.kept == {"/var/backups backups": (1, 2)}


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 2), st.booleans()), min_size=1, max_size=30),
    st.integers(1, 5),
)
def test_a_minimum_of_whole_backups_always_stays_and_the_newest_does(drawn, keep):
    rule = a_rule("backups", keep_newest=keep)
    files = [
        (f"shop-20260101T{number:06}Z.gz{'.part' if unfinished else ''}", days, size)
        for number, (days, size, unfinished) in enumerate(drawn)
    ]
    # parts are a row of their own by their names; in one row the minimum is of whole ones
    choice = choice_of(with_files(a_batch(rule=rule), *files))
    stay = [one for one in files if one[0] not in removed(choice)]
    whole = [one for one in files if one[2] and not one[0].endswith(".part")]
    assert len([one for one in stay if one in whole]) >= min(keep, len(whole))
    assert min(days for _, days, _ in files) == min(days for _, days, _ in stay)
    assert all(days >= 1 for name, days, _ in files if name in removed(choice))


@pytest.mark.parametrize(
    ("free", "params", "gone"),
    [
        (0, {"target_free_bytes": 1}, ["d"]),
        (0, {"target_free_bytes": 40 * 512}, ["d"]),
        (0, {"target_free_bytes": 40 * 512 + 1}, ["c", "d"]),
        (0, {"target_free_bytes": 10**9}, ["a", "b", "c", "d"]),
        (5000, {"target_free_bytes": 5000}, []),
        (4999, {"target_free_bytes": 5000}, ["d"]),
        (0, {"target_free_share": 0.03}, ["c", "d"]),
        (0, {"target_free_share": 0.0001, "target_free_bytes": 60 * 512}, ["c", "d"]),
    ],
)
def test_no_more_goes_than_the_target_needs_and_the_largest_go_first(free, params, gone):
    batch = a_batch(("a", 10), ("d", 40), ("b", 20), ("c", 30))
    choice = choice_of(batch, space=a_space(free_bytes=free, free_inodes=1000), **params)
    assert removed(choice) == gone
    assert choice.enough == (set() if gone else {1})


def test_where_inodes_are_missing_bytes_alone_are_not_enough():
    batch = a_batch(*[(f"f{number}", number) for number in range(10)])
    choice = choice_of(batch, space=a_space(900_000, 98, inodes=1000), target_free_share=0.1)
    # the two largest give the two inodes that are missing
    assert removed(choice) == ["f8", "f9"]


def test_an_emptied_log_gives_no_inode_back():
    batch = with_files(a_batch(("a", 1)), ("open.log", 0, 512_000))
    choice = choice_of(
        batch, opened=["open.log"], space=a_space(900_000, 0), target_free_share=0.001, truncate_bytes=1000
    )
    assert (removed(choice), emptied(choice)) == (["a"], ["open.log"])


def test_a_disk_that_has_enough_is_left_alone_and_the_other_is_not():
    full, roomy = a_root(device=1), a_root("/tmp", device=2)
    batches = [a_batch(("a", 5), root=full), a_batch(("b", 5), root=roomy)]
    spaces = {1: a_space(), 2: a_space(free_bytes=900_000, free_inodes=900)}
    choice = choose(batches, {}, spaces, {**NOTHING_ASKED, "target_free_bytes": 1000})
    assert removed(choice) == ["a"] and choice.enough == {2}


def test_a_file_system_without_a_number_of_inodes_has_enough_of_them():
    assert goal(a_space(inodes=0), {"target_free_bytes": None, "target_free_share": 0.5}) == (500_000, 0)


@pytest.mark.parametrize(
    ("entries", "folder", "asked", "goes"),
    [(2, "d", True, True), (3, "d", True, False), (2, "", True, False), (2, "d", False, False)],
)
def test_a_folder_goes_when_it_becomes_empty_and_that_is_asked_for(entries, folder, asked, goes):
    batch = a_batch(("a", 1), ("b", 1), folder=folder, entries=entries)
    assert bool(choice_of(batch, remove_empty_folders=asked).folders) is goes


@given(st.lists(st.lists(st.integers(0, 5), max_size=6), max_size=5), st.integers(0, 12))
def test_the_largest_are_the_largest(sizes, count):
    batches = [a_batch(*[(str(number), blocks) for number, blocks in enumerate(one)]) for one in sizes]
    got = [batch.blocks[position] for batch, position in largest(batches, count)]
    assert sorted(got, reverse=True) == sorted((blocks for one in sizes for blocks in one), reverse=True)[:count]
