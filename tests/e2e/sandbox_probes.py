"""How tests look at a sandbox without asking it: clients of their own, the process table, the kernel's sockets."""

import os
from pathlib import Path

import boto3
import pymongo
from botocore.config import Config

from mendbook.sandbox.ports import is_free
from waiting import until


def s3_with(facts, **changed):
    """A client that is not ours, with some of the facts replaced."""
    facts = facts | changed
    return boto3.client(
        "s3",
        endpoint_url=facts["endpoint_url"],
        aws_access_key_id=facts["access_key"],
        aws_secret_access_key=facts["secret_key"],
        region_name=facts["region"],
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


def mongo_with(facts, **changed):
    """An administrator's client that is not ours, with some of the facts replaced."""
    facts = facts | changed
    options = {"serverSelectionTimeoutMS": 60000, "directConnection": True, "authSource": "admin"}
    return pymongo.MongoClient(
        facts["host"], facts["port"], username=facts["username"], password=facts["password"], **options
    )


def running(pid):
    """Whether a process lives; one that only waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def listening(pid):
    """(address, port) of every TCP socket that a process listens on, read from the kernel's tables."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(os.readlink(entry))
        except OSError:
            continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                address, port = fields[1].split(":")
                found.add((address, int(port, 16)))
    return found


def sockets_in_tmp(port):
    """What weed binds outside its folder."""
    return list(Path("/tmp").glob(f"seaweedfs-*{port}.sock"))  # noqa: S108 - weed's own fixed names


def assert_nothing_left(facts, folder):
    """Processes, folder, ports and sockets of a sandbox with these facts are gone."""
    pids = [facts["keeper"], facts["mongo"]["pid"], facts["s3"]["pid"]]
    until(lambda: not any(map(running, pids)), "no process is left")
    until(lambda: not Path(folder).exists(), "the folder is gone")
    s3_port = int(facts["s3"]["endpoint_url"].rsplit(":", 1)[1])
    assert is_free(facts["mongo"]["port"]) and is_free(s3_port)
    assert not sockets_in_tmp(s3_port)
