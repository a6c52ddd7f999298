"""Which machine this is, from files as different systems have them."""

from __future__ import annotations

import os

import pytest
from ansible.module_utils.mendbook import host

ID = "3d1219c7c4c5404aaa1f6d2a48adfda4"


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A system with these files and no others: ``system(machine_id=text, mark=text)``."""

    def with_files(**texts):
        for name, text in texts.items():
            (tmp_path / name).write_text(text)
        monkeypatch.setattr(host, "_MACHINE_ID", (str(tmp_path / "machine_id"), str(tmp_path / "dbus")))
        monkeypatch.setattr(host, "_BOOT_ID", str(tmp_path / "boot_id"))
        monkeypatch.setattr(host, "_CONTAINER_MARKS", (str(tmp_path / "mark"),))
        monkeypatch.setattr(host, "_MOUNTS", str(tmp_path / "mounts"))

    return with_files


def test_the_target_is_named_after_the_machine_and_says_which_it_is(system):
    system(machine_id=f"{ID}\n", boot_id="b\n")
    target = host.target()
    assert (target["kind"], target["id"]) == ("host", f"host:{os.uname().nodename}")
    assert target["facts"]["machine_id"] == ID and target["facts"]["boot_id"] == "b" and target["facts"]["os"]
    assert host.identity() == ID


def test_a_container_says_so(system):
    system(mark="")
    assert host.target()["kind"] == "container"


def test_a_container_of_the_same_image_in_the_place_of_another_is_another(system):
    mounts = """76 50 0:39 / / rw,relatime master:4 - overlay overlay rw,upperdir={},workdir=w
77 76 0:42 / /proc rw,nosuid - proc proc rw
"""
    system(mark="", machine_id=ID, mounts=mounts.format("one"))
    first = host.identity()
    system(mounts=mounts.format("one").replace("76 50", "81 52"))
    assert host.identity() == first, "started again, it is still the same"
    system(mounts=mounts.format("two"))
    assert host.identity() != first


@pytest.mark.parametrize("text", ["", "uninitialized\n", "x" * 32, ID[:31], f"{ID}0"])
def test_without_a_machine_id_this_start_of_the_machine_counts(system, text):
    system(machine_id=text, boot_id="b\n")
    assert (host.machine_id(), host.identity()) == (None, "boot:b")


def test_the_id_is_found_where_dbus_keeps_it(system):
    system(dbus=ID)
    assert host.identity() == ID


def test_a_system_that_tells_nothing_is_still_a_target(system):
    system()
    assert host.identity() == "boot:" and host.target()["facts"]["machine_id"] is None


def test_a_user_without_an_entry_is_told_by_number(monkeypatch):
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr(host.getpass, "getuser", lambda: (_ for _ in ()).throw(KeyError("uid")))
    assert host.user() == str(os.getuid())


def test_who_called_sudo_is_the_user(monkeypatch):
    monkeypatch.setenv("SUDO_USER", "anna")
    assert host.user() == "anna"
