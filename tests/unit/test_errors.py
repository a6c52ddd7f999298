"""The tree of exceptions that the docstring draws is the one that exists, with the exit codes of the contract."""

import re

import pytest

import mendbook
from mendbook import errors
from mendbook.errors import MendError

CODES = {
    "MendError": 2,
    "UsageError": 64,
    "UnknownProcedure": 64,
    "InvalidVariable": 64,
    "InvalidInventory": 64,
    "NothingMatched": 7,
    "Failed": 2,
    "Partial": 3,
    "Unreachable": 4,
    "VerifyFailed": 5,
    "Refused": 6,
    "Locked": 75,
    "StateUnknown": 70,
    "TimedOut": 124,
    "Cancelled": 130,
}


def test_every_error_has_the_exit_code_of_the_contract():
    classes = {each.__name__: each for each in vars(errors).values() if isinstance(each, type)}
    assert {name: kind.exit_code for name, kind in classes.items()} == CODES


def test_the_docstring_draws_the_real_tree():
    drawn = re.findall(r"^[│ ]*[├└]── (\w+)|^(MendError)", errors.__doc__, re.MULTILINE)
    assert {branch or root for branch, root in drawn} == set(CODES)


@pytest.mark.parametrize("name", sorted(CODES))
def test_every_error_is_a_public_name_and_a_mend_error(name):
    assert issubclass(getattr(mendbook, name), MendError)


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'no_such'"):
        mendbook.no_such  # noqa: B018


def test_the_function_run_is_not_hidden_by_a_module_of_that_name():
    import mendbook.runs

    assert callable(mendbook.run) and mendbook.run is mendbook.runs.run
