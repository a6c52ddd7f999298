"""Which roots are asked whether they answer, and what is said of one that does not."""

from __future__ import annotations

import pytest
from ansible.module_utils.mendbook import disk_root
from ansible.module_utils.mendbook.disk_root import Root, require_answers
from ansible.module_utils.mendbook.errors import MendError, Refused
from disk_children import settled


@pytest.fixture
def mounts(tmp_path, monkeypatch):
    """Say what is mounted, each as (place, type)."""

    def say(*mounts):
        lines = [
            f"{30 + at} 29 0:{40 + at} / {point} rw - {kind} nas:/x rw\n" for at, (point, kind) in enumerate(mounts)
        ]
        (tmp_path / "mountinfo").write_text("".join(lines))
        monkeypatch.setattr(disk_root, "MOUNTINFO", str(tmp_path / "mountinfo"))

    return say


@pytest.fixture(autouse=True)
def children():
    """Whoever answers has answered before the patience begins."""
    with settled() as children:
        yield children


@pytest.fixture
def asked(tmp_path, monkeypatch, children):
    """The roots that are asked; one that is called dead never answers."""
    asked = tmp_path / "asked"
    asked.touch()

    def look(path):
        with asked.open("a") as file:
            file.write(f"{path}\n")
        if path.endswith("dead"):
            children.hang()
        yield True

    monkeypatch.setattr(disk_root, "_look", look)
    return lambda: sorted(asked.read_text().split())


def test_only_what_lies_on_another_machine_is_asked(mounts, asked):
    mounts(("/", "ext4"), ("/nas", "nfs4"), ("/nas/disk", "ext4"), ("/tmp", "tmpfs"), ("/srv/a", "fuse.sshfs"))
    require_answers(["/var/log", "/tmp", "/nasty", "/srv"])
    assert asked() == []
    # what is mounted below a server is reached through it
    require_answers(["/nas", "/nas/logs", "/nas/disk/logs", "/srv/a/logs", "/var/log"])
    assert asked() == ["/nas", "/nas/disk/logs", "/nas/logs", "/srv/a/logs"]


def test_one_that_does_not_answer_is_refused_with_the_nearest_server(mounts, asked, monkeypatch):
    monkeypatch.setattr(disk_root, "_ANSWER_SECONDS", 1)
    mounts(("/nas", "cifs"), ("/nas/b\x1b", "nfs4"))
    with pytest.raises(Refused) as caught:
        require_answers(["/nas/fine", "/nas/b\x1b/dead"])
    assert caught.value.rule == "no_answer" and r"lies on nas:/x (nfs4, mounted at /nas/b\x1b)" in caught.value.msg


@pytest.mark.parametrize(("name", "words"), [("file", "is not a folder"), ("missing", "there is no")])
def test_what_is_wrong_with_a_root_that_answers_is_said_by_whoever_opens_it(mounts, tmp_path, name, words):
    mounts((tmp_path, "nfs4"))
    (tmp_path / "file").touch()
    require_answers([str(tmp_path / name)])
    with pytest.raises(MendError, match=words):
        Root(str(tmp_path / name), ())


def test_where_no_mounts_are_told_nothing_is_cleaned(tmp_path, monkeypatch):
    monkeypatch.setattr(disk_root, "MOUNTINFO", str(tmp_path / "none"))
    for attempt in (lambda: require_answers([str(tmp_path)]), lambda: Root(str(tmp_path), ())):
        with pytest.raises(Refused) as caught:
            attempt()
        assert caught.value.rule == "proc"
