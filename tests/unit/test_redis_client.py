"""What our connections are called."""

import pytest
from ansible.module_utils.mendbook import redis_client
from ansible.module_utils.mendbook.redis_client import client_name


@pytest.mark.parametrize(
    ("user", "run", "start"),
    [
        ("anna", "20261121T101500Z-1a2b3c", "mendbook:20261121T101500Z-1a2b3c:anna@"),
        ("anna", None, "mendbook:-:anna@"),
        ("anna m\xfcller\n", "r", "mendbook:r:anna_m_ller_@"),
    ],
)
def test_a_connection_has_the_run_s_name_and_nothing_that_redis_refuses(monkeypatch, user, run, start):
    monkeypatch.setattr(redis_client, "user", lambda: user)
    name = client_name(run)
    assert name.startswith(start) and all("!" <= letter <= "~" for letter in name)
