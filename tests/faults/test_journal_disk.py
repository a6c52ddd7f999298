"""The journal on a disk that is really full: nothing is begun that cannot be ended."""

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.module_utils.mendbook.journal import Journal, unfinished, verify_chain

from requirement import missing

TESTS = Path(__file__).resolve().parent.parent
# the journal, on a tmpfs of its own in a mount namespace of its own; prints what it saw as JSON
ON_SMALL_DISK = """
import json, os, subprocess, sys
sys.path.insert(0, sys.argv[1])
import conftest
from ansible.module_utils.mendbook.journal import Journal, verify_chain, unfinished
disk, size, body = sys.argv[2:]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=" + size, "tmpfs", disk], check=True)
def fill():
    with open(disk + "/filler", "ab", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError as error:
            return error.errno
journal, seen = Journal("run-1", disk), {}
exec(body)
print(json.dumps(seen))
"""


def namespace() -> list[str]:
    """The command that gives its program mounts of its own, with or without being root."""
    command = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], capture_output=True).returncode:
        missing("this machine gives no mount namespace, so no small disk can be made")
    return command


def on_disk(tmp_path, size, body):
    done = subprocess.run(
        [*namespace(), sys.executable, "-c", ON_SMALL_DISK, str(TESTS), str(tmp_path), size, body],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_where_an_end_would_not_fit_nothing_is_begun(tmp_path):
    seen = on_disk(
        tmp_path,
        "64k",
        """
try:
    journal.begin(host="a")
except OSError as error:
    seen["errno"] = error.errno
seen["files"] = {name: os.path.getsize(journal.folder + "/" + name) for name in os.listdir(journal.folder)}
""",
    )
    assert seen == {"errno": errno.ENOSPC, "files": {"run-1.jsonl": 0}}


def test_a_begin_that_does_not_fit_leaves_the_chain_as_it_was(tmp_path):
    seen = on_disk(
        tmp_path,
        "256k",
        """
journal.write("run_begin")
try:
    journal.begin(plan={"changes": [{"object": "x" * 4000} for _ in range(60)]})
except OSError as error:
    seen["errno"] = error.errno
seen["files"] = os.listdir(journal.folder)
seen["events"] = [event["event"] for event in verify_chain(journal.path)]
""",
    )
    assert seen == {"errno": errno.ENOSPC, "files": ["run-1.jsonl"], "events": ["run_begin"]}


def test_the_largest_end_fits_on_a_disk_that_was_filled_after_its_begin(tmp_path, record_fault):
    seen = on_disk(
        tmp_path,
        "1m",
        """
begun = [journal.begin(host=host) for host in "abc"]
seen["errno"] = fill()
for one in begun:
    one.end(state="done", done=[{"object": "x" * 4000} for _ in range(1000)])
    fill()
events = verify_chain(journal.path)
seen["events"] = [event["event"] for event in events]
seen["unfinished"] = unfinished(events)
""",
    )
    assert seen == {"errno": errno.ENOSPC, "events": ["begin"] * 3 + ["end"] * 3, "unfinished": []}
    record_fault("disk full between begin and end", rounds=3, held="every end was written")


def test_a_limit_on_file_sizes_is_no_half_line(tmp_path):
    journal = Journal("run-1", str(tmp_path))
    journal.write("run_begin")
    before = Path(journal.path).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, hard))
    try:
        with pytest.raises(OSError) as caught:
            journal.write("refused", msg="x" * 1000)
        with pytest.raises(OSError):
            journal.begin()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert Path(journal.path).read_bytes() == before
    assert os.listdir(journal.folder) == ["run-1.jsonl"]


def test_a_writer_that_is_killed_at_any_moment_leaves_a_chain_that_goes_on(tmp_path, fault_rounds, record_fault):
    rounds = fault_rounds(8, 200)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import conftest\n"
        "from ansible.module_utils.mendbook.journal import Journal\n"
        "journal = Journal('run-1', sys.argv[2])\n"
        "print(flush=True)\n"
        "while True: journal.begin(plan={'changes': [{'object': 'x' * 4000}] * 100}).end(state='done')\n"
    )
    whole = 0
    for number in range(rounds):
        folder = tmp_path / str(number)
        writer = subprocess.Popen([sys.executable, "-c", code, str(TESTS), str(folder)], stdout=subprocess.PIPE)
        writer.stdout.readline()
        try:
            writer.wait(0.02 + number * 0.007 % 0.3)
        except subprocess.TimeoutExpired:
            pass
        writer.kill()
        writer.communicate()
        journal = Journal("run-1", str(folder))
        journal.write("run_end")
        journal.give_back()
        events = verify_chain(journal.path)
        *changes, last = [event["event"] for event in events]
        assert last == "run_end" and changes == (["begin", "end"] * len(changes))[: len(changes)]
        whole += len(unfinished(events)) <= 1 and os.listdir(journal.folder) == ["run-1.jsonl"]
    assert whole == rounds
    record_fault("kill -9 of a process that writes the journal", rounds=rounds, held=f"{whole} whole chains")
