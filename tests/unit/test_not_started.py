"""What a module that gave no answer left behind, as ansible and the engines put it, and the words for it."""

import pytest
from ansible.module_utils.mendbook import not_started
from ansible.module_utils.mendbook.not_started import NotStarted, cause, explained, lost

API = "404 Client Error for http+docker://localhost/v1.41/containers/web/exec: "
CONFLICT = API.replace("404", "409") + "Conflict"
ID = "a7a578904487"
VERSION = "Error connecting: Error while fetching server API version: "
NO_JSON = "Module result deserialization failed: No start of json char found"
NO_TEMPORARY = """Traceback (most recent call last):
  File "<stdin>", line 249, in _ansiballz_main
  File "/usr/lib/python3.11/tempfile.py", line 362, in _get_default_tempdir
FileNotFoundError: [Errno 2] No usable temporary directory found in ['/tmp', '/var/tmp', '/usr/tmp', '/']
"""


@pytest.mark.parametrize(
    ("said", "before", "words"),
    [
        ("The module interpreter '/usr/bin/python3' was not found.", True, "there is no Python at /usr/bin/python3"),
        ("ModuleNotFoundError: No module named 'json'", True, "its Python is not whole (no json)"),
        (NO_TEMPORARY, True, "--tmpfs /tmp"),
        ("Failed to create temporary directory. In some cases, you may have", True, "ansible_remote_tmp"),
        ("/bin/sh: 1: sudo: not found", True, "there is no sudo: in a container set ansible_become to false"),
        ("bash: line 1: sudo: command not found", True, "there is no sudo"),
        # the connection says paused of one that is stopped
        (
            f'The container "web" has been paused ({CONFLICT} ("Container {ID} is not running"))',
            True,
            "container web is stopped: docker start web",
        ),
        (f"Error response from daemon: Container {ID} is not running", True, f"container {ID} is stopped"),
        (
            f'The container "web" has been paused ({CONFLICT} ("Container {ID} is paused, unpause the container"))',
            True,
            "container web is paused: docker unpause web",
        ),
        ("Error response from daemon: Container web is paused, unpause", True, "container web is paused"),
        (
            f'Could not find container "web" ({API}Not Found ("No such container: web"))',
            True,
            "there is no container web any more",
        ),
        ("Error response from daemon: No such container: web", True, "there is no container web any more"),
        (
            'Could not find container "web" (404 Client Error for http+docker://localhost/v1.41/exec/4f/json: '
            'Not Found ("No such exec instance: 4f"))',
            False,
            "removed or replaced while the module was at work",
        ),
        (f"{VERSION}('Connection aborted.', PermissionError(13, 'Permission denied'))", True, "this user may not talk"),
        ("permission denied while trying to connect to the Docker daemon socket", True, "this user may not talk"),
        (f"{VERSION}('Connection aborted.', FileNotFoundError(2, 'No such'))", True, "no Docker engine answers"),
        (f"{VERSION}HTTPConnectionPool(...): [Errno 111] Connection refused", True, "no Docker engine answers"),
        ("Cannot connect to the Docker daemon at tcp://127.0.0.1:9.", True, "no Docker engine answers"),
    ],
)
def test_each_known_cause_is_named(said, before, words):
    found = cause(said)
    assert words in found.words
    assert found.before is before


@pytest.mark.parametrize(
    "said",
    [
        NO_JSON,
        "",
        "PermissionError(13, 'Permission denied')",
        "No such container: web",
        # what a module itself prints of a folder of its own
        "No usable temporary directory found in ['/srv']",
    ],
)
def test_what_is_not_known_is_not_guessed(said):
    assert cause(said, rc=1) is None


def test_what_the_shell_has_not_found_is_told_by_its_code_when_its_words_were_lost():
    found = cause(NO_JSON, 127)
    assert found.before and found.words.startswith("there is no Python where ansible looks for it")


@pytest.mark.parametrize("rc", [137, -9])
def test_a_module_that_was_killed_may_have_begun(rc):
    assert cause(NO_JSON, rc) == not_started._KILLED and not_started._KILLED.before is False


def test_a_module_that_could_not_start_is_an_error_of_its_own():
    with pytest.raises(NotStarted) as error:
        explained({"_ansible_parsed": False, "msg": NO_JSON, "module_stderr": NO_TEMPORARY, "module_stdout": ""})
    assert error.value.msg.startswith("nothing was changed, the module could not start: no folder for temporary files")
    assert (error.value.reason, error.value.rule) == (None, "start")


def test_a_module_that_has_printed_something_has_begun():
    result = {"_ansible_parsed": False, "msg": NO_JSON, "module_stderr": NO_TEMPORARY, "module_stdout": "half"}
    assert explained(result)["msg"] == cause(NO_TEMPORARY).words


def test_the_words_of_a_killed_module_replace_those_of_the_parser():
    result = {"_ansible_parsed": False, "failed": True, "msg": NO_JSON, "rc": 137, "exception": "(traceback)"}
    said = explained(result)
    assert said.pop("msg").startswith("the module was killed while it was at work")
    assert said == {"_ansible_parsed": False, "failed": True, "rc": 137}


@pytest.mark.parametrize(
    "result",
    [
        # a module that speaks for itself is believed, whatever words it uses
        {"_ansible_parsed": True, "failed": True, "msg": "Container web is paused", "rc": 137},
        {"_ansible_parsed": False, "failed": True, "msg": NO_JSON, "rc": 1},
        {"changed": False},
    ],
)
def test_other_results_stay_as_they_are(result):
    assert explained(dict(result)) == result


class Unreachable(Exception):
    """In the place of ansible's own."""


def test_a_lost_connection_stays_one_while_a_module_only_plans():
    error = lost(Unreachable(f'Could not find container "web" ({API}Not Found ("No such container: web"))'), False)
    assert isinstance(error, Unreachable) and str(error).startswith("there is no container web any more")


def test_an_acting_module_that_never_began_has_changed_nothing():
    error = lost(Unreachable(f'Could not find container "web" ({API}Not Found ("No such container: web"))'), True)
    assert isinstance(error, NotStarted)


@pytest.mark.parametrize("said", ["the line is dead", 'Not Found ("No such exec instance: 4f")'])
def test_an_acting_module_that_may_have_begun_stays_lost(said):
    assert type(lost(Unreachable(said), True)) is Unreachable
