"""A host that never comes back is left behind; the others are told in their order."""

from __future__ import annotations

import io
import json
import threading

import pytest

from mendbook.preflight import fleet, report, session, ssh_route
from mendbook.preflight.facts import Clock, Facts
from mendbook.preflight.finding import Finding
from mendbook.preflight.judge_host import Limits
from mendbook.preflight.reach import Stopped
from mendbook.preflight.target import Target


def targets(*names: str, **options: object) -> list[Target]:
    return [Target(name, ("all",), connection="ssh", address=name, **options) for name in names]


@pytest.fixture
def ways(monkeypatch):
    """``ways[name]`` is called instead of looking for the way to that host."""
    found = {}

    def route(words, host, deadline, jumps=0):
        return found.get(host, refuse)()

    monkeypatch.setattr(ssh_route, "route", route)
    monkeypatch.setattr(fleet, "_GRACE_SECONDS", 0.2)
    return found


def refuse():
    raise Stopped("port closed", "ops@x:22", "nothing \x1b[31mlistens")


def test_a_host_that_hangs_where_no_deadline_reaches_holds_nobody(ways):
    never = threading.Event()
    ways["b"] = lambda: never.wait() and refuse()
    # a machine that is busy keeps the others waiting, too
    for seconds in (0.5, 5, 30):
        seen = fleet.look(None, targets("a", "b", "c"), seconds, Limits())
        if [each.findings[0].check for each in seen] == ["tcp", "answer", "tcp"]:
            break
    never.set()
    assert [each.findings[0].check for each in seen] == ["tcp", "answer", "tcp"]
    assert [each.target.host for each in seen] == ["a", "b", "c"]
    assert f"within {seconds:g} s" in seen[1].findings[0].text
    assert report.exit_code(seen) == 4


def test_more_hosts_than_threads_have_all_their_turn(ways, monkeypatch):
    monkeypatch.setattr(fleet, "WORKERS", 3)
    seen = fleet.look(None, targets(*map(str, range(20))), 30, Limits())
    assert [each.findings[0].check for each in seen] == ["tcp"] * 20


def test_a_mistake_of_ours_at_one_host_is_no_silence_about_it(ways):
    ways["b"] = lambda: 1 / 0
    seen = fleet.look(None, targets("a", "b"), 30, Limits())
    (finding,) = seen[1].findings
    assert (finding.level, "ZeroDivisionError" in finding.text) == ("problem", True)


def test_what_hosts_say_is_shown_without_control_characters(ways):
    (seen,) = fleet.look(None, targets("a"), 30, Limits())
    assert seen.findings[0].text == "nothing listens"


def test_a_host_that_ansible_cannot_tell_of_has_its_words():
    broken = [
        Target("a", (), error="'x' is undefined"),
        Target("b", (), error="the connection plugin 'z' was not found"),
    ]
    one, other = fleet.look(None, broken, 30, Limits())
    assert (one.findings[0].check, "'x' is undefined" in one.findings[0].text) == ("settings", True)
    assert other.findings[0].text == "the connection plugin is not installed"


def test_an_endpoint_that_makes_us_stumble_hides_no_other_host(monkeypatch):
    def stumble(endpoints, connect, deadline):
        raise ZeroDivisionError("words")

    monkeypatch.setattr(fleet.endpoint, "look", stumble)
    monkeypatch.setattr(session, "here", lambda *_: Facts(began=True, complete=True, python=(3, 11), python_exit=0))
    uris = [{"redis_uri": "redis://a"}, {}]
    local = [Target(str(n), (), connection="local", endpoints=uri) for n, uri in enumerate(uris)]
    one, other = fleet.look(None, local, 30, Limits())
    assert [(found.check, "ZeroDivisionError: words" in found.text) for found in one.findings] == [("mendbook", True)]
    assert other.findings == []


def test_this_machine_is_looked_at_once_for_all_its_endpoints(monkeypatch):
    asked = []

    def here(target, drivers, deadline):
        asked.append(target.interpreter)
        return Facts(began=True, complete=True, python=(3, 11), python_exit=0)

    monkeypatch.setattr(session, "here", here)
    local = [Target(str(n), (), connection="local", interpreter=f"/opt/{n % 2}") for n in range(20)]
    seen = fleet.look(None, local, 30, Limits())
    assert sorted(asked) == ["/opt/0", "/opt/1"]
    assert report.exit_code(seen) == 0


def test_the_table_and_the_record_tell_the_same(ways):
    seen = fleet.look(None, targets("gone"), 30, Limits())
    for name, offset in {"fine": 0.5, "late": 60.5}.items():
        seen.append(fleet.Seen(Target(name, ()), [], Facts(clock=Clock(offset, 0.1))))
    out = io.StringIO()
    report.draw(seen, 1.23, out)
    said = out.getvalue()
    assert "gone" in said and "is sshd running there" in said and "\x1b" not in said
    assert "2 of 3 hosts are fine; looked at in 1.2 s" in said
    assert "clocks: 60.0 s apart, give or take 200 ms" in said
    record = json.loads(json.dumps(report.as_json(seen, 1.23)))
    assert [host["word"] for host in record["hosts"]] == ["unreachable", "fine", "fine"]
    assert (record["exit_code"], record["clock_spread"]["seconds"]) == (4, 60.0)
    seen[-1].findings.append(Finding("not checked", "endpoint", "a local socket is not tried"))
    report.draw(seen, 1.23, out)
    assert "2 of 3 hosts are fine, 1 of them as far as they were checked; looked at in 1.2 s" in out.getvalue()


def test_names_of_hosts_are_no_markup_of_the_table(ways):
    out = io.StringIO()
    report.draw(fleet.look(None, targets("[red]web[/]"), 30, Limits()), 1, out)
    assert "[red]web[/]" in out.getvalue()
