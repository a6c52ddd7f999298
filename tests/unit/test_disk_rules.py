"""Which folders, names and ages a rule may name, as tables and with hostile ones."""

from __future__ import annotations

import fnmatch
import os
import posixpath
import pwd

import pytest
from ansible.module_utils.mendbook import disk_rules
from ansible.module_utils.mendbook.disk_rules import is_unfinished, pattern_for, rules_in
from ansible.module_utils.mendbook.errors import MendError, Nothing, Refused
from hypothesis import given
from hypothesis import strategies as st

ALLOWED = ["/var/log", "/var/backups", "/var/cache", "/var/tmp", "/tmp"]
RULE = {"root": "/var/log", "patterns": ["*.log"], "kind": "logs", "min_age_seconds": 86400, "recurse": True}
BACKUP = {"root": "/var/backups", "patterns": ["*.gz"], "min_age_seconds": 86400, "keep_newest": 7, "recurse": True}
NUMBERS = dict.fromkeys(("target_free_bytes", "target_free_share", "truncate_bytes"))
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20)


def rules(*given, backups=(), allowed=ALLOWED, **numbers):
    params = {"rules": [{**RULE, **one} for one in given], "backups": [{**BACKUP, **one} for one in backups]}
    return rules_in({**params, "allowed_roots": list(allowed), "max_share": 0.9, **NUMBERS, **numbers})


@pytest.mark.parametrize(
    "root",
    ["/var/log", "/var/log/", "//var//log", "/var/log/./shop", "/var/log/shop", "/var/log/a b", "/tmp", "/var/log/-x"],
)
def test_a_root_that_is_allowed_is_taken_in_its_plain_form(root):
    (rule,) = rules({"root": root})
    assert rule.root == "/" + posixpath.normpath(root).lstrip("/")


@pytest.mark.parametrize(
    ("root", "words"),
    [
        ("var/log", "not absolute"),
        ("~/log", "not absolute"),
        ("$HOME", "not absolute"),
        ("/var/log/../../etc", "does not say plainly"),
        ("/var/log/..", "does not say plainly"),
        ("/var/log\0", "does not say plainly"),
        ("/", "holds much more"),
        ("//", "holds much more"),
        ("/.", "holds much more"),
        ("/usr", "holds much more"),
        ("/var", "holds much more"),
        ("/home", "holds much more"),
        ("/mnt", "holds much more"),
        ("/var/lib", "holds much more"),
        ("/etc", "belongs to the system"),
        ("/etc/", "belongs to the system"),
        ("/etc/nginx", "belongs to the system"),
        ("/usr/lib/python3", "belongs to the system"),
        ("/proc/1", "belongs to the system"),
        ("/dev/shm", "belongs to the system"),
        ("/boot", "belongs to the system"),
        ("/var/lib/dpkg/info", "belongs to the system"),
        ("/var/lib/docker", "holds much more"),
        ("/var/lib/docker/overlay2/1a/diff/var/log", "belongs to the system"),
        ("/root", "holds much more"),
        ("/home/someone", "somebody's home"),
        ("/var/log2", "is not below one of"),
        ("/var/lo", "is not below one of"),
        ("/srv/shop", "is not below one of"),
        ("/tmpfiles", "is not below one of"),
        ("/var/log\n", "is not below one of"),
    ],
)
def test_a_root_that_must_not_be_cleaned_is_refused_by_its_name(root, words):
    with pytest.raises(Refused, match=words) as caught:
        rules({"root": root})
    assert caught.value.rule == "root" and "\n" not in caught.value.msg


@pytest.mark.parametrize("root", ["/", "/etc", "/usr", "/home", "relative", "/srv/../etc"])
def test_the_list_of_allowed_roots_cannot_allow_the_system(root):
    with pytest.raises(Refused) as caught:
        rules({}, allowed=[*ALLOWED, root])
    assert caught.value.rule == "allowed_roots"


def test_somebodys_home_is_refused_and_what_is_named_in_it_is_not(monkeypatch):
    people = [("root", 0, "/root"), ("anna", 1000, "/srv/anna/"), ("backup", 34, "/var/backups"), ("no", 65534, "/srv")]
    entries = [pwd.struct_passwd((name, "x", uid, uid, "", home, "")) for name, uid, home in people]
    monkeypatch.setattr(disk_rules.pwd, "getpwall", lambda: entries)
    with pytest.raises(Refused, match="somebody's home"):
        rules({"root": "/srv/anna"}, allowed=["/srv/anna/logs", "/srv/shop"])
    assert rules({"root": "/srv/anna/logs"}, allowed=["/srv/anna/logs"])
    assert rules({"root": "/var/backups"})


def test_a_wider_list_allows_what_it_names():
    assert rules({"root": "/usr/local/tomcat/logs"}, allowed=["/usr/local/tomcat/logs"])
    with pytest.raises(Refused, match="disk_clean_allowed_roots"):
        rules({"root": "/usr/local/tomcat/conf"}, allowed=["/usr/local/tomcat/logs"])


@given(names=st.lists(NAMES, max_size=4), tail=NAMES)
def test_no_sibling_and_no_way_up_is_below_an_allowed_root(names, tail):
    root = "/".join(["/var/log", *names])
    try:
        (rule,) = rules({"root": root}, allowed=["/var/log"])
    except MendError:
        assert ".." in root.split("/")
    else:
        assert os.path.commonpath(["/var/log", rule.root]) == "/var/log"
    # whatever is glued to a name makes another one
    with pytest.raises(MendError):
        rules({"root": f"/var/log{tail}"}, allowed=["/var/log"])


@pytest.mark.parametrize(
    ("pattern", "name", "meant"),
    [
        ("*.log", "a.log", True),
        ("*.log", ".log", True),
        ("*.log", "-rf.log", True),
        ("*.log", "a\nb.log", True),
        ("*.log", os.fsdecode(b"\xff.log"), True),
        ("*.log", "a.log.1", True),
        ("*.log", "a.log.12.gz", True),
        ("*.log", "a.log-20260101", True),
        ("*.log", "a.log-20260101.gz", True),
        ("*.log", "a.log.2026-01-01.xz", True),
        ("*.log", "a.log-20260101-1767225600.zst", True),
        ("*.log", "a.log-20260101T030000Z.bz2", True),
        ("*.log", "a.log.gz", True),
        ("*.log", "a.log.old", True),
        ("*.log", "a-20260101.log", True),
        ("shop.log", "shop.log.3", True),
        ("*.log", "a.log\n", False),
        ("*.log", "a.logs", False),
        ("*.log", "a.log.bak", False),
        ("*.log", "a.log.1.gz.asc", False),
        ("*.log", "a.log.conf", False),
        ("*.log", "a.LOG", False),
        ("*.log", "alog", False),
        ("shop.log", "web-shop.log.3", False),
        ("[ab].log", "c.log", False),
        ("syslog", "syslog.7.gz", True),
        ("*.log", "x.log." + "1." * 40, False),
    ],
)
def test_a_pattern_for_logs_means_what_becomes_of_them(pattern, name, meant):
    assert bool(pattern_for([pattern], "logs").match(name)) is meant


@pytest.mark.parametrize("kind", ["backups", "cache", "temporary"])
@pytest.mark.parametrize("name", ["a.gz.1", "a.gz-20260101", "a.gz.old", "a.gz.xz"])
def test_a_pattern_for_anything_else_means_only_itself(kind, name):
    assert pattern_for(["*.gz"], kind).match("a.gz") and not pattern_for(["*.gz"], kind).match(name)


@given(name=NAMES, patterns=st.lists(st.sampled_from(["*.log", "a*", "*b*c*", "[!x]y*", "?.gz"]), min_size=1))
def test_several_patterns_mean_what_the_shell_means(name, patterns):
    meant = any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    assert bool(pattern_for(patterns, "cache").match(name)) is meant
    # and for logs at least that
    assert pattern_for(patterns, "logs").match(name) or not meant


@pytest.mark.parametrize(
    "pattern",
    [
        "*", "**", "?*", "*.*", "[!x]*", "[a-z]*", "*?", ".", "*-*", "*_*", "*[!]]*", "[]]*", "[]a]*", "[!]a]*", "[",
        "*[!a]*[b]", "*~",
    ],
)  # fmt: skip
def test_a_pattern_that_may_mean_everything_is_refused_for_logs_and_backups(pattern):
    for attempt in (lambda: rules({"patterns": ["*.log", pattern]}), lambda: rules(backups=[{"patterns": [pattern]}])):
        with pytest.raises(Refused) as caught:
            attempt()
        assert caught.value.rule == "pattern"


@pytest.mark.parametrize("pattern", ["*.log", "*.1", "[!]]*.gz", "[a-z]*-db", "*[log", "*[]x", "журнал*", "sys[log"])
def test_a_letter_or_a_digit_outside_of_brackets_says_which_are_meant(pattern):
    assert rules({"patterns": [pattern]}) and rules(backups=[{"patterns": [pattern]}])


def test_a_cache_may_go_as_a_whole():
    assert rules({"root": "/var/cache/shop", "patterns": ["*"], "kind": "cache"})


@pytest.mark.parametrize("pattern", ["shop/*.log", "../*.log", "/etc/*.conf", "..", "a\0b", " "])
def test_a_pattern_is_for_names_and_not_for_paths(pattern):
    with pytest.raises(Refused) as caught:
        rules({"patterns": ["*.log", pattern]})
    assert caught.value.rule == "pattern"


@pytest.mark.parametrize(
    ("changed", "rule"), [({"patterns": []}, "pattern"), ({"patterns": [""]}, "pattern"), ({"root": " "}, "root")]
)
def test_an_empty_selector_is_nothing(changed, rule):
    with pytest.raises(Nothing) as caught:
        rules(changed)
    assert caught.value.rule == rule


def test_no_rule_at_all_is_nothing():
    with pytest.raises(Nothing) as caught:
        rules()
    assert caught.value.rule == "rules"


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"rules": {"min_age_seconds": 59}}, "min_age_seconds"),
        ({"rules": {"min_age_seconds": 0}}, "min_age_seconds"),
        ({"rules": {"min_age_seconds": -1}}, "min_age_seconds"),
        ({"backups": {"keep_newest": 0}}, "keep_newest"),
        ({"backups": {"keep_newest": -3}}, "keep_newest"),
    ],
)
def test_an_age_or_a_minimum_that_cannot_be_meant_is_refused(changed, rule):
    with pytest.raises(Refused) as caught:
        rules(*[changed[name] for name in ("rules",) if name in changed], backups=[changed.get("backups", {})])
    assert caught.value.rule == rule


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_share", 0), ("max_share", 1.1), ("target_free_share", 20), ("target_free_bytes", 0), ("truncate_bytes", -1)],
)
def test_a_number_that_is_none_is_refused(name, value):
    with pytest.raises(MendError) as caught:
        rules({}, **{name: value})
    assert caught.value.rule == name


def test_backups_come_first_so_that_their_minimum_holds():
    first, second = rules({"root": "/var/backups", "patterns": ["*.gz"]}, backups=[{}])
    assert (first.kind, first.keep_newest, second.kind, second.keep_newest) == ("backups", 7, "logs", 0)


@pytest.mark.parametrize("name", ["a.gz.part", "a.gz.tmp", "a.PARTIAL", "a~", "a.gz.incomplete", ".a.gz.swp"])
def test_what_is_unfinished_is_known_by_its_name(name):
    assert is_unfinished(name)


@pytest.mark.parametrize("name", ["a.gz", "part.gz", "tmp", "apart", "a.partly"])
def test_what_only_looks_unfinished_is_not(name):
    assert not is_unfinished(name)
