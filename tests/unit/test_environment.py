"""What of our environment ansible gets to see."""

import os
from pathlib import Path

import pytest
from ansible.module_utils.mendbook import journal

from mendbook import environment

SECRETS = {
    "MONGO_URI": "mongodb://u:canary@h/",
    "AWS_ACCESS_KEY_ID": "canary",
    "AWS_SECRET_ACCESS_KEY": "canary",
    "AWS_SESSION_TOKEN": "canary",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN": "canary",
    "GITHUB_TOKEN": "canary",
    "ANSIBLE_BECOME_PASSWORD": "canary",
    "PGPASSWORD": "canary",
    "LD_PRELOAD": "canary",
    "ANSIBLE_LIBRARY": "canary",
    "ANSIBLE_CONFIG": "canary",
    "BASH_FUNC_x%%": "canary",
}
WANTED = {
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "SSH_AUTH_SOCK": "/s",
    "https_proxy": "http://p:1",
    "AWS_PROFILE": "p",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://m",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://c",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/t",
    "ANSIBLE_VAULT_PASSWORD_FILE": "/v",
    "XDG_CONFIG_HOME": "/x",
}


def test_only_what_is_on_the_list_passes():
    assert environment.allowed(SECRETS | WANTED) == WANTED


def test_a_run_gets_our_config_its_own_names_and_no_secret(monkeypatch):
    for name, value in (SECRETS | WANTED).items():
        monkeypatch.setenv(name, value)
    prepared = dict(os.environ) | {"ANSIBLE_STDOUT_CALLBACK": "awx_display", "ANSIBLE_HOST_KEY_CHECKING": "False"}
    made = environment.for_run(prepared, Path("/content"), {"MENDBOOK_RUN": "r"})
    assert "canary" not in str(made)
    assert made["ANSIBLE_CONFIG"] == "/content/ansible.cfg" and made["MENDBOOK_RUN"] == "r"
    assert made["ANSIBLE_STDOUT_CALLBACK"] == "awx_display"


def test_ansible_runner_does_not_switch_off_host_keys(monkeypatch):
    monkeypatch.delenv("ANSIBLE_HOST_KEY_CHECKING", raising=False)
    made = environment.for_run({"ANSIBLE_HOST_KEY_CHECKING": "False"}, Path("/content"), {})
    assert "ANSIBLE_HOST_KEY_CHECKING" not in made


@pytest.mark.parametrize(
    "names", [{"MENDBOOK_STATE": "/s"}, {"MENDBOOK_STATE": "rel"}, {"XDG_STATE_HOME": "/x"}, {"MENDBOOK_STATE": ""}, {}]
)
@pytest.mark.parametrize("uid", [0, 1000])
def test_the_wrapper_and_the_gate_agree_on_the_state_folder(monkeypatch, names, uid):
    for name in ("MENDBOOK_STATE", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert str(environment.state_folder()) == journal.state_folder()
