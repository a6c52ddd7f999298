"""Which exit code decides, and which error belongs to it."""

from itertools import permutations
from pathlib import Path

import pytest

from mendbook import errors
from mendbook.outcome import CODE_OF_REASON, HostResult, Outcome, worst


def outcome(code, *hosts):
    return Outcome("p", "r", False, "w", code, {host.host: host for host in hosts}, 1.0, Path("/j"))


def test_the_order_of_the_contract_decides_between_targets():
    order = [70, 5, 3, 75, 6, 4, 2, 7]
    for better, pair in ((min(map(order.index, pair)), pair) for pair in permutations(order, 2)):
        assert worst([*pair, 0]) == order[better]


def test_all_is_well_only_when_every_target_is():
    assert worst([]) == worst([0, 0]) == 0
    assert worst([0, 7]) == 7


def test_reasons_have_the_codes_of_the_contract():
    assert CODE_OF_REASON == {
        "refused": 6,
        "drift": 6,
        "nothing": 7,
        "locked": 75,
        "verify": 5,
        "partial": 3,
        "unknown": 70,
        None: 2,
    }


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (2, errors.Failed),
        (3, errors.Partial),
        (4, errors.Unreachable),
        (5, errors.VerifyFailed),
        (6, errors.Refused),
        (7, errors.NothingMatched),
        (70, errors.StateUnknown),
        (75, errors.Locked),
    ],
)
def test_a_bad_outcome_raises_the_error_of_its_code_with_the_words_of_the_host(code, kind):
    bad = outcome(code, HostResult("a", "w", code, msg="because"), HostResult("b", "done"))
    with pytest.raises(kind, match="^a: because$") as caught:
        bad.raise_if_failed()
    assert type(caught.value) is kind and caught.value.exit_code == code and caught.value.outcome is bad


def test_a_good_outcome_is_returned():
    good = outcome(0, HostResult("a", "done", changed=True))
    assert good.raise_if_failed() is good and good.changed


def test_an_outcome_cannot_be_altered():
    with pytest.raises(AttributeError):
        outcome(0).word = "done"
