"""inventory/endpoints, copied and filled in: every kind of service behind a bastion, by ansible and by mendbook run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.e2e
pytest_plugins = ["ssh_lab", "postgres_lab", "bastion_lab"]
ROLES = ("postgres_sessions", "mongo_verify", "redis_info")
ENDPOINTS = ("estore", "shop", "shop_cache", "estore_backups")
ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "inventory" / "endpoints"


@pytest.fixture
def inventory(bastion, tmp_path):
    """A copy with the addresses of the lab in it, and every endpoint behind its bastion."""
    copied = shutil.copytree(SHIPPED, tmp_path / "inventory")
    filled_in = {
        "ssh://ops@bastion.example.com": bastion.via,
        "/etc/mendbook/ca.pem": str(bastion.ca_file),
        "https://s3.example.com": bastion.s3["s3_endpoint_url"],
        "estore-backups": bastion.facts["s3"]["bucket"],
    }
    for path in copied.rglob("*.yml"):
        text = path.read_text()
        for old, new in filled_in.items():
            text = text.replace(old, new)
        path.write_text(text)
    groups = yaml.safe_load((copied / "hosts.yml").read_text())
    groups["endpoints"]["children"]["behind_bastion"]["hosts"] = dict.fromkeys(ENDPOINTS)
    (copied / "hosts.yml").write_text(yaml.safe_dump(groups))
    return copied


@pytest.fixture
def sandbox_secrets(bastion) -> dict[str, str]:
    return {
        "MONGO_URI": bastion.mongo_uri,
        "POSTGRES_URI": bastion.postgres_uri,
        "REDIS_URI": bastion.redis_uri,
        "AWS_ACCESS_KEY_ID": bastion.s3["s3_access_key"],
        "AWS_SECRET_ACCESS_KEY": bastion.s3["s3_secret_key"],
    }


def test_every_kind_of_endpoint_is_reached_through_the_bastion(bastion, playbook):
    bastion.at_mongo(lambda client: client["estore"]["orders"].insert_one({"at": 1}))
    names = ("diagnose_postgres", "verify_mongo", "diagnose_redis", "check_backups")
    plays = [{"import_playbook": str(ROOT / "playbooks" / f"{name}.yml")} for name in names]
    played = playbook(plays, variables={f"{role}_connect_timeout_seconds": 30 for role in ROLES})
    assert played.results, played.stdout + played.stderr
    (sessions,) = played.of("mend_postgres_sessions_info")
    assert sessions["reached"]["tls"] and sessions["reached"]["address"].startswith("db.inside:"), sessions
    (verified,) = played.of("mend_mongo_verify")
    assert not verified.get("failed"), verified
    (cache,) = played.of("mend_redis_info")
    assert not cache.get("failed"), cache
    (backups,) = played.of("mend_s3_backup_check")
    assert backups["mend"]["reason"] == "verify", "there is no backup in that bucket"
    assert played.rc == 2


def test_mendbook_run_goes_the_same_way_and_names_a_bastion_that_does_not_let_us_in(
    bastion, inventory, state, sandbox_secrets
):
    def run(*arguments):
        command = ["-m", "mendbook", "run", "diagnose_postgres", "-i", str(inventory), "--json", *arguments]
        environment = os.environ | sandbox_secrets | {"MENDBOOK_STATE": str(state)}
        done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, timeout=180)
        return done.returncode, done.stdout + done.stderr

    code, words = run("-e", "postgres_sessions_connect_timeout_seconds=30")
    assert code == 0, words
    code, words = run("-e", f"mend_via={bastion.via.replace('bastion?', 'nobody@bastion?')}")
    assert code == 2 and "login to the bastion nobody@bastion was refused" in words, words
