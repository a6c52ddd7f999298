"""What removing images frees: the layers that nobody who stays stands on, each once."""

from __future__ import annotations

import hypothesis
import pytest
from ansible.module_utils.mendbook.docker_layers import freed_bytes
from hypothesis import strategies as st

EMPTY = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"


def image(name, *layers, unique=0):
    return {"id": name, "layers": list(layers), "unique_bytes": unique}


def freed(removed, kept=(), **histories):
    return freed_bytes(removed, list(kept), histories)


def test_what_somebody_else_stands_on_is_not_freed():
    app, other = image("app", "base", "own"), image("other", "base", "theirs")
    assert freed([app], [other], app=[7, 0, 100]) == {"app": 7}
    assert freed([app], app=[7, 0, 100]) == {"app": 107}


def test_what_several_share_counts_once_for_the_last_of_them():
    images = [image(name, "base", "deps", name) for name in ("a", "b", "c")]
    histories = {"a": [1, 10, 100], "b": [2, 10, 100], "c": [3, 10, 100]}
    assert freed(images, **histories) == {"a": 1, "b": 2, "c": 113}
    assert freed(images[:2], images[2:], **histories) == {"a": 1, "b": 2}
    assert freed(images[:2], [image("base", "base")], **histories) == {"a": 1, "b": 12}


def test_the_same_layer_on_another_one_is_another_layer():
    a, b = image("a", "x", "same"), image("b", "y", "same")
    assert freed([a], [b], a=[5, 3]) == {"a": 8}


@pytest.mark.parametrize(
    ("layers", "history", "expected"),
    [
        (["base", "own"], [7, 100], 7),
        # steps that make no layer, and layers in which nothing is
        (["base", "own"], [0, 7, 0, 0, 100], 7),
        (["base", EMPTY, "own"], [7, 0, 100], 7),
        # a folder has no size: it may be the last one, or not
        (["base", "folder", "own"], [7, 0, 100], 7),
        (["base", "own", "folder"], [0, 7, 100], 7),
        # a history that tells nothing
        (["base", "own"], [], 0),
    ],
)
def test_sizes_are_those_of_the_last_layers_and_never_too_much(layers, history, expected):
    assert freed([image("app", *layers)], [image("other", "base")], app=history) == {"app": expected}


def test_what_the_engine_itself_calls_unique_is_the_least():
    assert freed([image("app", "base", "own", unique=9)], [image("other", "base")]) == {"app": 9}
    assert freed([image("app", unique=9)]) == {"app": 9}


@hypothesis.given(
    chains=st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), min_size=1, max_size=6),
    sizes=st.dictionaries(st.integers(0, 3), st.integers(0, 50), min_size=4, max_size=4),
    cut=st.integers(0, 6),
)
def test_never_more_than_is_really_freed_and_all_of_it_where_sizes_are_plain(chains, sizes, cut):
    images = [image(str(number), *map(str, chain)) for number, chain in enumerate(chains)]
    histories = {str(number): [sizes[layer] for layer in reversed(chain)] for number, chain in enumerate(chains)}

    def all_chains(some):
        return {tuple(chains[int(one["id"])][: end + 1]) for one in some for end in range(len(one["layers"]))}

    removed, kept = images[:cut], images[cut:]
    really = sum(sizes[chain[-1]] for chain in all_chains(removed) - all_chains(kept))
    planned = sum(freed_bytes(removed, kept, histories).values())
    assert planned <= really
    if all(sizes.values()):
        assert planned == really
