"""The sandbox from outside: the servers it gives, what they refuse, and that nothing stays behind."""

import pytest

pytestmark = pytest.mark.e2e


def test_the_playbook_fixture_reads_results_back(playbook):
    played = playbook(
        [
            {
                "name": "Look",
                "hosts": "mongo",
                "tasks": [
                    {"name": "Say", "ansible.builtin.debug": {"msg": "{{ word }}"}},
                    {"name": "Fail", "ansible.builtin.fail": {"msg": "on purpose"}},
                ],
            }
        ],
        variables={"word": "hello"},
    )
    assert played.rc == 2
    assert [entry["status"] for entry in played.results] == ["ok", "failed"]
    assert played.of("debug")[0]["msg"] == "hello"
    assert played.failed()[0]["msg"] == "on purpose"
