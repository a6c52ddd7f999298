"""What tests/conftest.py promises about versions of ansible-core and the page of faults."""

from __future__ import annotations

import importlib.util
import subprocess

import ansible.release
import pytest

from contract import content


@pytest.fixture(scope="module")
def session():
    found = importlib.util.spec_from_file_location("session_fixtures", content.ROOT / "tests" / "conftest.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def other_core() -> str:
    return "2.21" if ansible.release.__version__.startswith("2.19.") else "2.19"


def test_a_missing_ansible_core_is_a_skip_here_and_a_failure_in_ci(session):
    with pytest.raises(pytest.skip.Exception, match=r"ansible-core 2\.21 is not installed"):
        session.without("2.21", in_ci=False)
    with pytest.raises(pytest.fail.Exception, match=r"ansible-core 2\.21 is not installed"):
        session.without("2.21", in_ci=True)


def test_a_folder_without_ansible_is_no_ansible_core(session, monkeypatch, tmp_path):
    monkeypatch.setenv(f"MENDBOOK_TEST_CORE{other_core().replace('.', '')}", str(tmp_path))
    assert session.core_folder(other_core()) is None
    (tmp_path / "ansible-playbook").touch()
    assert session.core_folder(other_core()) == tmp_path


def test_each_ansible_core_is_the_version_that_it_is_called(core_bins, request):
    version = subprocess.run([core_bins / "ansible", "--version"], capture_output=True, text=True, timeout=280)
    assert version.stdout.startswith(f"ansible [core {request.node.callspec.params['core_bins']}.")


def test_the_page_of_faults_has_a_row_for_each(session):
    faults = [{"fault": "kill -9", "rounds": 40, "held": "40 all-old or all-new", "outcome": "passed"}]
    assert "| kill -9 | 40 | 40 all-old or all-new | passed |" in session.fault_page(faults)
