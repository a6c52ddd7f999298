"""Lines of mountinfo as the kernel writes them, and which mount a path leads to."""

import os

import pytest
from ansible.module_utils.mendbook.disk_mounts import (
    file_systems,
    is_read_only,
    kind,
    may_hang,
    mount_of,
    parse,
    points_below,
    upper_of,
    visible,
    wished_read_only,
)

ROOT = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard"
VAR = "30 27 254:1 / /var rw shared:5 - ext4 /dev/vdb rw"


def mounts(*lines):
    return parse("\n".join([*lines, ""]).encode())


@pytest.mark.parametrize(
    ("field", "name"),
    [
        (rb"/a\040b", "/a b"),
        (rb"/a\011b", "/a\tb"),
        (rb"/a\012b", "/a\nb"),
        (rb"/a\134040b", "/a\\040b"),
        (rb"/a\043b", "/a#b"),
        (b"/a\rb", "/a\rb"),
        (b"/a\xffb", "/a\udcffb"),
        ("/caf\u00e9".encode(), "/caf\u00e9"),
    ],
)
def test_a_name_is_what_it_was_before_the_kernel_escaped_it(field, name):
    (mount,) = parse(b"30 27 0:40 / " + field + b" rw - tmpfs tmpfs rw\n")
    assert mount.point == name


@pytest.mark.parametrize(
    "optional", ["", "shared:1 ", "shared:1 master:2 propagate_from:7 unbindable ", "something:new - "[:14]]
)
def test_any_number_of_optional_fields_stands_before_the_dash(optional):
    (mount,) = mounts(f"36 35 98:0 /mnt1 /mnt2 rw,noatime {optional}- ext3 /dev/root rw,errors=continue")
    assert (mount.id, mount.parent, mount.device) == (36, 35, os.makedev(98, 0))
    assert (mount.root, mount.point, mount.type, mount.source) == ("/mnt1", "/mnt2", "ext3", "/dev/root")
    assert mount.options == ("rw", "noatime") and mount.file_system_options == ("rw", "errors=continue")


def test_a_source_may_be_empty_and_a_mount_point_may_be_a_dash():
    first, second = mounts("30 27 0:40 / /x rw - tmpfs  rw", "31 27 0:41 / - rw - tmpfs - rw")
    assert (first.source, first.file_system_options) == ("", ("rw",))
    assert (second.point, second.source) == ("-", "-")


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("ext4", "disk"), ("xfs", "disk"), ("btrfs", "disk"), ("zfs", "disk"), ("fuseblk", "disk"),
        ("nfs", "remote"), ("nfs4", "remote"), ("cifs", "remote"), ("ceph", "remote"), ("9p", "remote"),
        ("fuse", "remote"), ("fuse.sshfs", "remote"), ("fuse.glusterfs", "remote"), ("nfsd", "disk"),
        ("tmpfs", "memory"), ("overlay", "overlay"), ("squashfs", "image"), ("iso9660", "image"),
        ("autofs", None), ("fuse.lxcfs", None), ("fuse.portal", None),
    ],
)  # fmt: skip
def test_what_may_never_answer_is_told_from_a_disk(name, word):
    assert kind(mounts(f"30 27 0:40 / /x rw - {name} source rw")[0]) == word


def test_a_local_disk_below_a_remote_one_may_hang_too():
    found = mounts(
        ROOT,
        "40 27 0:50 / /net rw - nfs4 server:/x rw",
        "41 40 254:2 / /net/disk rw - ext4 /dev/vdc rw",
        "42 27 254:3 / /network rw - ext4 /dev/vdd rw",
    )
    assert [may_hang(mount, found) for mount in found] == [False, True, True, False]


def test_only_what_a_path_leads_to_is_visible():
    found = mounts(
        ROOT,
        "40 27 0:50 / /mnt/deep rw - tmpfs below-mnt rw",
        "41 27 0:51 / /mnt rw - tmpfs over-deep rw",
        "42 41 0:52 / /mnt/deep rw - tmpfs in-mnt rw",
        "43 27 0:53 / /shm rw - tmpfs first rw",
        "44 43 0:54 / /shm rw - tmpfs second rw",
        "45 43 0:55 / /shm/inner rw - tmpfs under-second rw",
        "46 40 0:56 / /mnt/deep/more rw - tmpfs in-hidden rw",
    )
    assert [mount.source for mount in visible(found)] == ["/dev/vda", "over-deep", "in-mnt", "second"]
    assert mount_of("/mnt/deep/x", visible(found)).source == "in-mnt"


@pytest.mark.parametrize(
    ("path", "point"), [("/", "/"), ("/var", "/var"), ("/var/log/x", "/var"), ("/variable", "/"), ("/v", "/")]
)
def test_a_path_belongs_to_the_mount_with_the_longest_name_that_is_a_folder_of_it(path, point):
    assert mount_of(path, mounts(ROOT, VAR)).point == point


def test_where_nothing_is_mounted_there_is_no_mount():
    assert mount_of("/var", []) is None and visible([]) == [] and parse(b"40 1 0:5 / /x rw - tmpfs t rw\n")


def test_a_bind_mount_is_the_same_file_system_and_what_stands_for_it_is_the_whole():
    found = file_systems(
        mounts(
            "50 27 254:1 /log /a rw - ext4 /dev/vdb rw", ROOT, VAR, "51 27 254:1 / /longer/place rw - ext4 /dev/vdb rw"
        )
    )
    assert [[mount.point for mount in group] for group in found] == [["/var", "/longer/place", "/a"], ["/"]]


def test_the_upper_folder_of_an_overlay_and_of_nothing_else():
    options = "rw,lowerdir=/l1:/l2,upperdir=/var/up,workdir=/var/work"
    overlay, plain, readonly = mounts(
        f"60 27 0:60 / /m rw - overlay overlay {options}",
        f"61 27 0:61 / /n rw - tmpfs x {options}",
        "62 27 0:62 / /o ro - overlay overlay ro,lowerdir=/l1:/l2",
    )
    assert (upper_of(overlay), upper_of(plain), upper_of(readonly)) == ("/var/up", None, None)


def test_mount_points_below_a_folder_are_a_tree_of_names():
    lines = [
        VAR,
        "52 27 0:52 / /var/a/b rw - tmpfs t rw",
        "53 27 0:53 / /var/a rw - tmpfs t rw",
        "54 27 0:54 / /x rw - tmpfs t rw",
    ]
    assert points_below("/var", mounts(ROOT, *lines)) == {"a": {"b": {"": {}}, "": {}}}
    assert set(points_below("/", mounts(ROOT, *lines))) == {"var", "x"}
    assert points_below("/x", mounts(ROOT, *lines)) == {}


def test_a_folder_that_is_mounted_onto_itself_hides_nothing():
    itself = "55 27 254:1 /lib/docker /var/lib/docker rw - ext4 /dev/vdb rw"
    another = "56 27 254:1 /log /var/lib/shop rw - ext4 /dev/vdb rw"
    found = mounts(ROOT, VAR, itself, another)
    assert points_below("/var", found) == {"lib": {"shop": {"": {}}}}
    assert points_below("/var/lib", found) == {"shop": {"": {}}}
    assert points_below("/", found)["var"][""] == {}


@pytest.mark.parametrize(
    ("options", "file_system_options", "read_only"),
    [
        ("rw", "rw", False),
        ("ro", "rw", False),
        ("ro", "ro", True),
        ("rw", "ro,errors=remount-ro", True),
        ("rw", "rw,errors=remount-ro", False),
        ("rw", "rw,emergency_ro", True),
        ("rw", "rw,shutdown", True),
    ],
)
def test_a_file_system_that_takes_no_writes_is_told_from_a_mount_that_wants_none(
    options, file_system_options, read_only
):
    assert is_read_only(mounts(f"30 27 8:1 / /x {options} - ext4 /dev/sda {file_system_options}")[0]) is read_only


def test_an_fstab_says_what_is_to_be_read_only():
    fstab = (
        "# /dev/x /no ext4 ro 0 0\n/dev/a /a\\040b ext4 noatime,ro 0 0\nLABEL=b /b ext4 errors=remount-ro 0 0\n\nhalf\n"
    )
    assert wished_read_only(fstab) == {"/a b"}
