"""What Ansible's inventory plugins say, and the cause that an operator can do something about."""

import pytest

from mendbook.inventory_words import unreadable

PARSE = "[WARNING]: Failed to parse inventory with 'auto' plugin: "
CONNECT = PARSE + "Error connecting: Error while fetching server API version: "


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            PARSE + "inventory config 'x.yml' specifies unknown plugin 'community.docker.docker_containers'",
            "it needs A",
        ),
        (CONNECT + "('Connection aborted.', PermissionError(13, 'Permission denied'))", "this user may not talk"),
        (CONNECT + "('Connection\naborted.', FileNotFoundError(2, 'No such file'))", "no Docker engine answers where"),
        (
            PARSE + "Error connecting: Server '192.0.2.7' not found in known_hosts\nand more",
            "its Docker engine (docker_host) is not reached: Server '192.0.2.7' not found in known_hosts\n",
        ),
        ("Missing dependency: No module named 'requests'", "it needs the Python library requests"),
    ],
)
def test_a_known_cause_stands_first_and_all_that_was_said_after_it(said, words):
    assert unreadable(said).startswith(f"the inventory cannot be read: {words}")
    assert unreadable(said).endswith(f"\n{said}")


def test_an_unknown_cause_is_not_guessed():
    assert unreadable("unknown plugin 'mine'") == "the inventory cannot be read:\nunknown plugin 'mine'"
