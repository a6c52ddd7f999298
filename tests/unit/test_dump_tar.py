# SPDX-License-Identifier: MIT
"""A dump directory in a tar: any order of members, nothing hostile, nothing cut off, nothing hidden."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest
from ansible.module_utils.mendbook.dump import open_dump
from ansible.module_utils.mendbook.errors import MendError

from dump_writer import MemorySource, directory_files, made, metadata, tar_of

FILES = directory_files("shop", {"users": made(40), "orders": made(9), "empty": []})
KINDS = ["plain with ranges", "plain without ranges", "gzip"]


def source(data, kind="plain with ranges", chunk_bytes=700):
    packed = gzip.compress(data) if kind == "gzip" else data
    return MemorySource(packed, chunk_bytes, name="latest.tar", ranges=kind != "plain without ranges")


def counts(dump):
    return {item.namespace[1]: item.count for item in dump.iterate() if len(item) == 2}


def failure(data, kind):
    with pytest.raises(MendError) as caught:
        counts(open_dump(source(data, kind)))
    return caught.value


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", [sorted, lambda names: sorted(names, reverse=True)])
def test_metadata_may_come_before_or_after_its_data(kind, order):
    data = tar_of({name: FILES[name] for name in order(FILES)})
    assert counts(open_dump(source(data, kind))) == {"users": 40, "orders": 9, "empty": 0}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_tar_format_with_long_names(kind, form):
    name = "n" * 150
    files = {f"shop/{name}.bson": b"".join(made(3)), f"shop/{name}.metadata.json": metadata(name).encode()}
    out = io.BytesIO()
    if form == tarfile.USTAR_FORMAT:  # it cannot hold such a name
        files = FILES
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            if form == tarfile.PAX_FORMAT:
                member.pax_headers = {"comment": "ünïcødé\nline"}
            tar.addfile(member, io.BytesIO(content))
    found = counts(open_dump(source(out.getvalue(), kind)))
    assert found == ({name: 3} if files is not FILES else {"users": 40, "orders": 9, "empty": 0})


def test_the_first_pass_of_a_plain_tar_jumps_over_the_data():
    large = {"shop/large.bson": b"".join(made(30_000)), "shop/large.metadata.json": metadata("large").encode()}
    data = tar_of(large)
    asked = []
    tar = source(data)
    read_range = tar.read_range
    tar.read_range = lambda start, length: asked.append(length) or read_range(start, length)
    dump = open_dump(tar)
    assert tar.bytes_read == 0
    assert sum(asked) < len(data) / 4
    assert counts(dump) == {"large": 30_000}


def test_folders_and_dots_in_names_do_not_matter():
    files = {f"./dump/./{name}": content for name, content in FILES.items()}
    assert counts(open_dump(source(tar_of(files)))) == {"users": 40, "orders": 9, "empty": 0}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name", ["../shop/users.bson", "/etc/users.bson", "shop/../../users.bson", "a\\..\\users.bson"]
)
def test_members_that_lead_out_are_refused(kind, name):
    error = failure(tar_of(FILES | {name: b""}), kind)
    assert "leads out of the dump: refused" in error.msg
    assert error.rule == "hostile"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "type_", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"S", b"Z"]
)
def test_links_devices_and_unknown_members_are_refused(kind, type_):
    error = failure(tar_of({"shop/users.bson": b""}, type=type_, linkname="/etc/passwd"), kind)
    assert "is a link or a special file: refused" in error.msg
    assert error.rule == "hostile"


def test_sparse_pax_members_are_refused():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("shop/users.bson")
        member.pax_headers = {"GNU.sparse.major": "1"}
        tar.addfile(member, io.BytesIO(b""))
    assert "sparse members are not supported" in failure(out.getvalue(), KINDS[0]).msg


@pytest.mark.parametrize("kind", KINDS)
def test_a_member_twice_is_refused(kind):
    out = tar_of(FILES).rstrip(b"\0")
    out += bytes(-len(out) % 512)
    assert "is in the tar twice" in failure(out + tar_of(FILES), kind).msg


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_header_does_not_hide_the_members_behind_it(kind):
    """tarfile takes a damaged header for the end of the tar and drops the rest in silence."""
    data = bytearray(tar_of(FILES))
    place = data.index(b"shop/orders.metadata.json.gz")
    data[place + 3] ^= 1
    assert f"damaged at byte {place}: no tar header" in failure(bytes(data), kind).msg


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_in_the_middle_do_not_hide_the_members_behind_them(kind):
    data = tar_of(FILES)
    place = data.index(b"shop/orders.metadata.json.gz")
    assert (
        f"data follows the tar's end marker at byte {place}"
        in failure(data[:place] + bytes(512) + data[place + 512 :], kind).msg
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["header", "data", "end"])
def test_a_cut_is_named(kind, place):
    data = tar_of(FILES)
    orders = data.index(b"shop/orders.bson.gz")
    length = {"header": orders + 100, "data": orders + 512 + 30, "end": len(data.rstrip(b"\0")) // 512 * 512 + 512}
    assert "truncated" in failure(data[: length[place]], kind).msg


@pytest.mark.parametrize("kind", KINDS)
def test_garbage_after_the_end_is_refused(kind):
    assert "data follows the tar's end marker" in failure(tar_of(FILES) + b"garbage", kind).msg


def test_a_huge_metadata_member_is_refused():
    data = bytearray(tar_of({"shop/users.metadata.json": b""}))
    member = tarfile.TarInfo("shop/users.metadata.json")
    member.size = 1 << 40
    data[:512] = member.tobuf(tarfile.GNU_FORMAT)
    assert "more than 16 MiB" in failure(bytes(data), KINDS[0]).msg


@pytest.mark.parametrize("record", [b"5 path=", b"x path=a\n", b"30 path=a\n", b"11 size=-1\n", b"11 nothing\n"])
def test_a_broken_extended_header_is_refused(record):
    body = record.ljust(512, b"\0") if b"nothing" in record else record
    data = tar_of({"PaxHeader": body}, type=b"x")
    error = failure(data, KINDS[0])
    assert "damaged at byte" in error.msg or "holds no dump" in error.msg


def test_damage_inside_a_member_names_the_member():
    files = dict(FILES)
    packed = bytearray(files["shop/users.bson.gz"])
    packed[len(packed) // 2] ^= 1
    assert (
        "shop/users.bson.gz: the gzip data is damaged"
        in failure(tar_of(files | {"shop/users.bson.gz": bytes(packed)}), KINDS[0]).msg
    )


def test_a_tar_that_got_shorter_after_it_was_opened_is_noticed():
    tar = source(tar_of(FILES))
    dump = open_dump(tar)
    tar.data = tar.data[:1024]
    with pytest.raises(MendError, match="truncated inside shop/"):
        counts(dump)


def test_metadata_that_was_read_by_ranges_and_differs_from_the_stream_is_noticed():
    files = directory_files("shop", {"users": made(40)}, packed=False)
    tar = source(tar_of(files))
    seen = tar.data.replace(b'"v": 2', b'"v": 1', 1)
    tar.read_range = lambda start, length: seen[start : start + length]
    with pytest.raises(MendError, match="replaced after it was opened"):
        counts(open_dump(tar))
