# SPDX-License-Identifier: MIT
"""What removing images frees: each layer counted once, and only when no image that stays stands on it. Pure."""

from __future__ import annotations

# of a layer in which nothing is
_EMPTY = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"


def freed_bytes(removed, kept, histories):
    """Return {id: bytes that go with this image}, for images that are removed in the order of ``removed``.

    A layer that several of them share counts for the last one. ``histories`` {id: sizes of /images/ID/history, newest
    first}. Never more than is really freed; `_last` says where it may be less.
    """
    users = {}
    for image in removed + kept:
        for chain in _chains(image["layers"]):
            users[chain] = users.get(chain, 0) + 1
    freed = {}
    for image in removed:
        alone = []
        for layer, chain in zip(image["layers"], _chains(image["layers"])):
            users[chain] -= 1
            if not users[chain]:
                alone.append(layer)
        sizes = [size for size in reversed(histories.get(image["id"]) or []) if size]
        freed[image["id"]] = max(_last(alone, image["layers"], sizes), image["unique_bytes"])
    return freed


def _last(alone, layers, sizes):
    """The bytes of the last layers of an image, ``alone``; ``sizes`` are those of the layers that have any.

    Layers of no size (a new directory) are not told from steps that made no layer, so that it is not always plain which
    layer has which size. Then those of no size are taken to be among the last.
    """
    filled = sum(layer != _EMPTY for layer in layers)
    count = sum(layer != _EMPTY for layer in alone)
    if count < filled:
        count -= filled - len(sizes)
    return sum(sizes[-count:]) if count > 0 else 0


def _chains(layers):
    """A layer is the same only on the same layers below."""
    return [tuple(layers[: number + 1]) for number in range(len(layers))]
