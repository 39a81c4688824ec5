"""The link from a return to the transfer that it takes back, by identifier and amount."""

import pytest

from billing.bank.returns import Original, identifiers_of, link


def original(id, amount=8900, *names, is_reversed=False):
    return Original(id, amount, frozenset(names), is_reversed)


@pytest.mark.parametrize(
    ("earlier", "found", "doubtful"),
    [
        pytest.param([original(1, 8900, "A")], 1, (), id="one that shares name and amount"),
        pytest.param([original(1, 8900, "B")], None, (), id="another name"),
        pytest.param([original(1, 5000, "A")], None, (1,), id="another amount"),
        pytest.param(
            [original(1, 8900, "A", is_reversed=True)], None, (), id="one taken back before"
        ),
        pytest.param([original(1, 8900, "A"), original(2, 8900, "A")], None, (1, 2), id="two"),
        pytest.param([original(2, 8900, "A"), original(1, 50, "A")], 2, (), id="one fits"),
        pytest.param([], None, (), id="none"),
    ],
)
def test_a_return_is_linked_to_one_or_to_none(earlier, found, doubtful):
    returned = link(8900, frozenset({"A"}), earlier)

    assert (returned.original, returned.doubtful) == (found, doubtful)
    assert returned.why


def test_a_placeholder_is_no_name():
    said = {"bank_reference": "NONREF", "end_to_end_id": "NOTPROVIDED", "uetr": "0000"}

    assert identifiers_of({"corrects": None} | said, {}) == frozenset()


def test_a_line_and_its_detail_are_known_by_all_their_names():
    names = identifiers_of({"bank_reference": "B1", "corrects": "F1"}, {"transaction_id": " T1 "})

    assert names == {"B1", "F1", "T1"}
