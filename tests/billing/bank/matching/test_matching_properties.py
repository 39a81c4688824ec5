"""Invariants of matching for all transfers and invoices: order, bounds, and no wrong match."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from billing.bank.matching.rules import RULES, match
from billing.bank.matching.types import AUTOMATIC, MatchingPolicy, PayerHistory
from billing.statements.references import Scheme, check_reference, creditor_reference
from tests.billing.bank.matching.given import incoming, invoice, open_items, rf

PRICES = (8900, 13900, 22900)
IBANS = (None, "DE89370400440532013000", "DE02100100100006820101")
_ids = st.integers(1, 6)
_texts = st.one_of(
    st.builds(rf, st.integers(1, 9)),
    st.builds(lambda one, two: f"{rf(one)} and {rf(two)}", _ids, _ids),
    st.sampled_from(["", "thanks", "refund", "BT-2026-000001", "RF00 0000 0000 00"]),
    st.text(max_size=20),
)
_invoices = st.lists(
    st.builds(
        lambda due, account, state, currency: (due, account, state, currency),
        st.sampled_from(PRICES),
        st.integers(1, 3),
        st.sampled_from(["open", "open", "open", "paid", "void"]),
        st.sampled_from(["EUR", "EUR", "EUR", "USD"]),
    ),
    max_size=6,
).map(
    lambda rows: [
        invoice(id, due, account=account, state=state, currency=currency)
        for id, (due, account, state, currency) in enumerate(rows, start=1)
    ]
)
_transfers = st.lists(
    st.tuples(
        st.sampled_from([*PRICES, 8900 + 13900, 100, 8901]),
        _texts,
        st.sampled_from(IBANS),
        st.one_of(st.none(), st.builds(rf, _ids)),
    ),
    max_size=6,
).map(
    lambda rows: [
        incoming(amount, text, ref=ref, id=id, payer_iban=iban)
        for id, (amount, text, iban, ref) in enumerate(rows, start=1)
    ]
)


@given(_invoices, _transfers, st.randoms(use_true_random=False))
def test_the_order_of_transfers_changes_nothing(invoices, transfers, chance):
    balance = open_items(*invoices)
    expected = match(transfers, balance, MatchingPolicy())
    chance.shuffle(transfers)

    assert match(transfers, balance, MatchingPolicy()) == expected


@given(_invoices, _transfers, st.randoms(use_true_random=False))
def test_the_order_of_invoices_changes_nothing(invoices, transfers, chance):
    expected = match(transfers, open_items(*invoices), MatchingPolicy())
    chance.shuffle(invoices)

    assert match(transfers, open_items(*invoices), MatchingPolicy()) == expected


@given(_invoices, _transfers)
def test_no_invoice_gets_more_than_is_open_and_no_transfer_gives_more_than_it_has(
    invoices, transfers
):
    balance, paid = open_items(*invoices), Counter()
    amounts = {one.id: one.amount_minor for one in transfers}

    for decision in match(transfers, balance, MatchingPolicy()):
        given_away = sum(part for _, part in decision.parts) + decision.surplus_minor
        is_automatic = decision.outcome in AUTOMATIC
        assert given_away == (amounts[decision.transfer_id] if is_automatic else 0)
        for id, part in decision.parts:
            assert part > 0
            paid[id] += part

    assert all(paid[id] <= balance.invoices[id].due_minor for id in paid)


@given(_invoices, _transfers)
def test_an_automatic_payment_names_the_reference_of_its_invoice(invoices, transfers):
    balance, by_id = open_items(*invoices), {one.id: one for one in transfers}

    for decision in match(transfers, balance, MatchingPolicy()):
        said = by_id[decision.transfer_id]
        everything = " ".join([*said.texts, *[one.value for one in said.structured]])
        for id, _ in decision.parts:
            assert balance.invoices[id].reference in everything
            assert balance.invoices[id].due_minor > 0
            assert balance.invoices[id].currency == said.currency


NAMES = ("Anna Schmidt", "Bo Brandt", "Carla Conti")
_counts = st.builds(
    PayerHistory, st.sampled_from([0, 2, 3, 4]), st.integers(0, 2), st.sampled_from([0, 0, 1])
)
_payers = st.dictionaries(
    st.sampled_from(IBANS[1:]),
    st.dictionaries(st.integers(1, 3), _counts, min_size=1, max_size=2),
    min_size=1,
    max_size=2,
)
_named_invoices = st.lists(
    st.tuples(
        st.sampled_from([*PRICES, 8900]),
        st.integers(1, 3),
        st.sampled_from(["open", "open", "paid"]),
    ),
    min_size=1,
    max_size=6,
).map(
    lambda rows: [
        invoice(id, due, account=account, state=state, names=(NAMES[account - 1],))
        for id, (due, account, state) in enumerate(rows, start=1)
    ]
)


@st.composite
def _known_transfers(draw, invoices):
    """Transfers that are steered: most have the amount of an invoice, and many its reference."""
    transfers = []
    for id in range(1, draw(st.integers(1, 4)) + 1):
        first, second = draw(st.sampled_from(invoices)), draw(st.sampled_from(invoices))
        due = first.total_minor
        kind = draw(st.sampled_from(["silent", "silent", "in text", "structured", "both", "named"]))
        text = {"in text": f"RF{first.reference[2:4]} {first.id}", "named": draw(_texts)}
        text["both"] = f"{first.reference} {second.reference}"
        amount = due + second.total_minor if kind == "both" else due
        transfers.append(
            incoming(
                draw(st.sampled_from([amount, amount, amount, amount - 100, amount + 100])),
                text.get(kind, ""),
                ref=first.reference if kind == "structured" else None,
                id=id,
                payer_iban=draw(st.sampled_from(IBANS)),
                payer_name=draw(st.sampled_from([*NAMES, "Steuerkanzlei Nord", None])),
                virtual_owner=draw(st.sampled_from([None] * 6 + [1])),
            )
        )
    return transfers


def _is_trusted(counts, policy):
    return counts.confirmed >= policy.trust_after and not counts.declined


def test_known_payers_settle_nothing_for_another_account_and_every_rule_is_reached():
    policy, reached = MatchingPolicy(trust_after=3), Counter()

    @given(st.data(), _named_invoices, _payers)
    @settings(max_examples=600, derandomize=True)
    def check(data, invoices, payers):
        transfers = data.draw(_known_transfers(invoices))
        items, by_id = open_items(*invoices, payers=payers), {one.id: one for one in transfers}
        for decision in match(transfers, items, policy):
            transfer = by_id[decision.transfer_id]
            known = items.known_for(transfer.payer_iban)
            reached[decision.rule, decision.outcome] += 1
            reached["known"] += bool(known) and decision.outcome in AUTOMATIC
            if decision.outcome not in AUTOMATIC:
                continue
            assert decision.rule == "S2" or not known or decision.account_id in known
            assert transfer.virtual_owner in {None, decision.account_id}
            if decision.rule == "S1":
                assert _is_trusted(known[decision.account_id], policy)

    check()

    assert {rule for rule, _ in reached.keys() - {"known"}} == set(RULES)
    assert {("S1", "settle"), ("S1", "suggest"), ("D", "credit"), ("A5", "settle")} <= set(reached)
    assert reached["known"] > 20


@given(_invoices, _transfers)
def test_every_decision_for_review_has_a_reason(invoices, transfers):
    for decision in match(transfers, open_items(*invoices), MatchingPolicy()):
        assert decision.outcome in AUTOMATIC or decision.review
        assert decision.reasons


@given(st.integers(0, 10**10 - 1))
def test_each_reference_that_we_issue_is_valid_and_of_one_length(number):
    made = creditor_reference(number)

    assert len(made) == 14
    found = check_reference(made)
    assert found is not None
    assert (found.scheme, found.is_valid) == (Scheme.RF, True)
