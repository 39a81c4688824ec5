"""Field 86 with numbered subfields, used in ways that the agreement does not describe."""

import pytest

from tests.billing.statements.writing import mt940, only

LINE = ":61:2601310131C10,00NTRFNONREF//BANK1"


def _read(purpose: str):
    return only(mt940(LINE, f":86:166{purpose}")).entries[0].only_detail


@pytest.mark.parametrize(
    ("purpose", "remittance", "name"),
    [
        ("?20SVWZ+Really? yes?32Payer", ("Really? yes",), "Payer"),
        ("?20SVWZ+Invoice 12?32Payer?", ("Invoice 12",), "Payer?"),
        ("?20SVWZ+What??32Payer", ("What?",), "Payer"),
        ("?00CREDIT?lost?20SVWZ+Invoice 12?32Payer", ("Invoice 12",), "Payer"),
    ],
)
def test_a_separator_without_two_digits_after_it_is_text(purpose, remittance, name):
    detail = _read(purpose)

    assert (detail.remittance, detail.counterparty) == (remittance, name)


def test_of_two_subfields_alike_the_first_counts():
    detail = _read("?20Invoice 12?32Payer?32Other?30BANKAAA?30BANKBBB")

    assert (detail.counterparty, detail.counterparty_bank) == ("Payer", "BANKAAA")


def test_a_purpose_of_very_many_subfields_is_read_whole():
    detail = _read("".join(f"?{20 + place % 10}{place}" for place in range(40)) + "?32Payer")

    assert detail.remittance == tuple(str(place) for place in range(40))
    assert detail.counterparty == "Payer"


def test_the_text_after_the_largest_number_of_subfields_is_kept():
    """A file of 100 MB full of them took 25 seconds."""
    detail = _read("".join(f"?21{place}" for place in range(100)) + "?32Payer")

    assert detail.remittance[:3] == ("0", "1", "2")
    assert detail.remittance[-1].endswith("?2198?2199?32Payer")
    assert detail.counterparty is None


@pytest.mark.parametrize(
    ("purpose", "end_to_end", "mandate", "remittance"),
    [
        ("?20EREF+A+B?21MREF+M1", "A+B", "M1", ()),
        ("?20EREF+A MREF+M1 SVWZ+Rent", "A", "M1", ("Rent",)),
        ("?20EREF+A?21 and B?22SVWZ+Rent?23EREF+C", "A and B", None, ("Rent", "EREF+C")),
        ("?20Rent EREF+A?21EREF+B", "AB", None, ("Rent",)),
    ],
)
def test_sepa_tags_begin_anywhere_and_run_on(purpose, end_to_end, mandate, remittance):
    detail = _read(purpose)

    assert (detail.end_to_end_id, detail.mandate_id) == (end_to_end, mandate)
    assert detail.remittance == remittance
