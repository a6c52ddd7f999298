"""The way to a host as this machine's own ssh says it: bastions in their order, keys, files of known hosts."""

from __future__ import annotations

import shutil

import pytest
from ansible.module_utils.mendbook import reach
from ansible.module_utils.mendbook.errors import MendError

from mendbook.preflight.reach import Deadline, Stopped
from mendbook.preflight.ssh_route import bastion, route

pytestmark = pytest.mark.skipif(shutil.which("ssh") is None, reason="needs ssh: apt-get install openssh-client")


@pytest.fixture
def way(tmp_path):
    """``way("Host a\\n ...", "a", "-p", "2200")`` is the route to a with that file of settings."""

    def go(settings: str, host: str, *words: str):
        config = tmp_path / "config"
        config.write_text(settings)
        return route(["ssh", *words, "-F", str(config)], host, Deadline.after(60))

    return go


def test_a_host_without_settings_is_itself(way):
    (hop,) = way("User ops\n", "web1.example.com")
    assert (hop.host, hop.port, hop.user, hop.where) == ("web1.example.com", 22, "ops", "ops@web1.example.com:22")
    assert (hop.known_as, hop.proxy_command, hop.agent) == ("web1.example.com", "", True)


@pytest.mark.parametrize(
    ("settings", "hops"),
    [
        ("Host a\n ProxyJump b\nHost b\n HostName 10.0.0.2\n Port 2200\n User jo\n", ["jo@10.0.0.2:2200", "ops@a:22"]),
        ("Host a\n ProxyJump jo@b:2200\n", ["jo@b:2200", "ops@a:22"]),
        ("Host a\n ProxyJump jo@[::1]:2200\n", ["jo@[::1]:2200", "ops@a:22"]),
        ("Host a\n ProxyJump b,c\nHost b\n ProxyJump d\n", ["ops@d:22", "ops@b:22", "ops@c:22", "ops@a:22"]),
        # those after the first are reached through the one before, whatever their own settings say
        ("Host a\n ProxyJump b,c\nHost c\n ProxyJump d\n", ["ops@b:22", "ops@c:22", "ops@a:22"]),
        ("Host a\n ProxyJump none\n", ["ops@a:22"]),
    ],
)
def test_bastions_come_in_their_order(way, settings, hops):
    assert [hop.where for hop in way(f"{settings}Host *\n User ops\n", "a")] == hops


def test_a_circle_of_bastions_ends(way):
    with pytest.raises(Stopped, match="circle") as stopped:
        way("Host a\n ProxyJump b\nHost b\n ProxyJump a\n", "a")
    assert stopped.value.stage == "settings"


def test_options_before_the_file_win_as_they_do_for_ansible(way):
    (hop,) = way("Host a\n Port 22\n User ops\n HostKeyAlias real\n", "a", "-o", 'Port="2200"', "-o", 'User="root"')
    assert (hop.where, hop.known_as) == ("root@a:2200", "real")


def test_a_host_on_another_port_is_known_by_both(way):
    (hop,) = way("Port 2200\n", "a")
    assert hop.known_as == "[a]:2200"


def test_keys_that_are_not_there_are_not_tried_and_percent_words_are_filled_in(way, tmp_path):
    (tmp_path / "key-web1").write_text("")
    settings = f"Host web\n HostName web1\n User ops\n IdentityFile {tmp_path}/key-%h\n IdentityFile {tmp_path}/none\n"
    (hop,) = way(settings + f" UserKnownHostsFile {tmp_path}/known-%r\n ProxyCommand nc %%%h %p\n", "web")
    assert hop.keys == (f"{tmp_path}/key-web1",)
    assert hop.known_hosts[0] == f"{tmp_path}/known-ops"
    assert hop.proxy_command == "nc %web1 22"


@pytest.mark.parametrize(
    ("settings", "agent"),
    [
        ("IdentitiesOnly yes\n", False),
        ("IdentityAgent none\n", False),
        ("PubkeyAuthentication no\n", False),
        ("IdentityAgent SSH_AUTH_SOCK\n", True),
    ],
)
def test_the_agent_is_asked_where_ssh_would_ask_it(way, settings, agent):
    assert way(settings, "a")[0].agent is agent


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("PKCS11Provider /usr/lib/x.so\n", "pkcs11provider"),
        ("KnownHostsCommand /usr/bin/keys %H\n", "knownhostscommand"),
        ("IdentityAgent /run/other.sock\n", "/run/other.sock"),
    ],
)
def test_what_only_ssh_can_do_is_said_not_to_be_checked(way, settings, words):
    (hop,) = way(settings, "a")
    assert any(words in text for text in hop.unchecked)


def test_a_file_that_ssh_does_not_take_is_named_with_the_line(way):
    with pytest.raises(Stopped, match="Bad configuration option") as stopped:
        way("Prot 22\n", "a")
    assert stopped.value.stage == "settings" and "-G" in stopped.value.command


def test_a_host_that_looks_like_an_option_is_none(way):
    with pytest.raises(Stopped):
        way("", "-oProxyCommand=touch${IFS}here")


def test_a_bastion_of_mend_via(tmp_path):
    config = tmp_path / "config"
    config.write_text("Host jump\n HostName 10.0.0.9\n User ops\n StrictHostKeyChecking no\n")
    (hop,) = bastion(f"ssh://jo@jump:2200?config={config}", Deadline.after(60))
    assert (hop.where, hop.accepts) == ("jo@10.0.0.9:2200", "true")


@pytest.mark.parametrize(
    "via",
    [
        "bastion", "http://bastion", "k8s://pod", "ssh://", "ssh://[", "ssh://b:port", "ssh://ops:canary@b", "ssh://b/tmp",
        "ssh://b?key=/x",
    ],
)  # fmt: skip
def test_a_way_that_a_run_refuses_is_refused_here_too(via):
    with pytest.raises(MendError) as refused, reach.route(via, 5):
        pass
    with pytest.raises(Stopped) as stopped:
        bastion(via, Deadline.after(60))
    assert (refused.value.rule, stopped.value.stage) == ("via", "settings")
    assert "canary" not in stopped.value.text


def test_a_proxy_command_on_the_way_is_refused_as_by_a_run(tmp_path):
    config = tmp_path / "config"
    config.write_text("Host b\n ProxyCommand nc %h %p\n")
    via = f"ssh://b?config={config}"
    with pytest.raises(MendError, match="ProxyCommand, which is not supported") as refused, reach.route(via, 5):
        pass
    with pytest.raises(Stopped, match="ProxyCommand, which mend_via does not support") as stopped:
        bastion(via, Deadline.after(60))
    assert (refused.value.rule, stopped.value.stage) == ("via_config", "settings")
