"""The main app's accounts, as we find, lock and read them."""

import pytest
from sqlalchemy import insert

from billing.errors import AccountDeleted, SystemAccount, UnknownAccount
from billing.host import accounts
from models.host import Subscription, User
from tests.billing.host.conftest import DAY
from tests.story import NOON
from worker.database import engine, transaction


@pytest.fixture
def shop(ledger):
    """Accounts by their Stripe customer; two have the same, and one of those is deleted."""
    for slug, customer, is_deleted in (
        ("b", "cus_b", False),
        ("a", "cus_a", False),
        ("old", "cus_again", True),
        ("new", "cus_again", False),
        ("gone", "cus_gone", True),
        ("twin1", "cus_twin", False),
        ("twin2", "cus_twin", False),
        ("none", None, False),
        ("empty", "", False),
    ):
        ledger.open_account(slug, stripe_customer_id=customer, is_deleted=is_deleted)
    return ledger


def slugs(ledger, ids):
    names = {account_id: slug for slug, account_id in ledger.ids.items()}
    return [names[account_id] for account_id in ids]


@pytest.mark.parametrize(
    ("customer", "expected"),
    [
        ("cus_a", ["a"]),
        ("cus_again", ["new"]),
        ("cus_gone", ["gone"]),
        ("cus_twin", ["twin1", "twin2"]),
        ("cus_unknown", []),
        ("", []),
    ],
)
def test_a_deleted_account_has_a_customer_only_where_no_other_has(shop, customer, expected):
    with transaction() as ctx:
        assert slugs(shop, accounts.with_customer(ctx.session, customer)) == expected


def test_a_customer_of_several_accounts_is_no_ones(shop):
    with transaction() as ctx:
        single, by_id = accounts.lock_customers(
            ctx.session, ["cus_b", "cus_twin", "", "cus_unknown"], ids=[shop.ids["none"]]
        )

    assert {customer: account.slug for customer, account in single.items() if customer} == {
        "cus_b": "b"
    }
    assert slugs(shop, by_id) == ["b", "twin1", "twin2", "none"]


def test_customers_are_listed_once_in_order_from_one_on_and_deleted_ones_left_out(shop):
    with transaction() as ctx:
        listed = [
            accounts.customers(ctx.session, after=after, limit=limit)
            for after, limit in (("", 9), ("cus_a", 2))
        ]

    assert listed == [["cus_a", "cus_again", "cus_b", "cus_twin"], ["cus_again", "cus_b"]]


@pytest.mark.parametrize(
    ("slug", "fields", "error"),
    [
        ("acme", {"is_deleted": True}, AccountDeleted),
        ("default", {}, SystemAccount),
        ("default", {"is_deleted": True}, AccountDeleted),
        (None, {}, UnknownAccount),
    ],
)
def test_of_many_accounts_the_first_that_may_not_be_billed_is_named(ledger, slug, fields, error):
    fine = ledger.open_account("fine")
    other = ledger.open_account(slug, **fields) if slug else 404

    with transaction() as ctx, pytest.raises(error) as raised:
        accounts.lock_all_billable(ctx.session, [other, fine, fine])
    assert raised.value.facts["account_id"] == other


def test_accounts_are_locked_once_each_in_ascending_id(ledger):
    ids = [ledger.open_account(slug) for slug in ("a", "b", "c")]

    with transaction() as ctx:
        locked = accounts.lock_all_billable(ctx.session, [ids[2], ids[0], ids[2]])
        assert [account.slug for account in locked] == ["a", "c"]
        with engine().begin() as other:
            free = other.exec_driver_sql("SELECT slug FROM igny8_tenants FOR UPDATE SKIP LOCKED")
            assert free.scalars().all() == ["b"]


@pytest.mark.parametrize("name", ["acme", "id"])
def test_an_account_is_read_by_its_slug_or_its_id(ledger, name):
    ledger.open_account("other")
    account_id = ledger.open_account("acme", is_deleted=True)

    with transaction() as ctx:
        account = accounts.read(ctx.session, str(account_id) if name == "id" else name)
        assert accounts.read(ctx.session, "404") is None
    assert (account.id, account.slug, account.is_deleted) == (account_id, "acme", True)


def test_a_user_has_the_accounts_that_it_owns_or_belongs_to(ledger):
    member, owned, _ = (ledger.open_account(slug) for slug in ("member", "owned", "other"))
    with transaction() as ctx:
        for id, email, account in ((1, "ann@acme.eu", member), (2, "bob@acme.eu", None)):
            values = {"id": id, "email": email, "role": "viewer", "is_superuser": id == 2}
            ctx.session.execute(insert(User).values(account_id=account, **values))
    ledger.set_host("owned", owner_id=1)

    with transaction() as ctx:
        ann, same = (accounts.user(ctx.session, name) for name in ("1", "ann@acme.eu"))
        bob = accounts.user(ctx.session, "2")
        assert accounts.user(ctx.session, "3") is None
    assert ann == same
    assert (ann.accounts, ann.role, ann.is_superuser) == ({member, owned}, "viewer", False)
    assert (bob.accounts, bob.is_superuser) == (frozenset(), True)


def test_a_period_is_anchored_at_the_subscription_of_the_account_and_at_its_creation(ledger):
    plain = ledger.open_account("plain", created_at=NOON - DAY)
    subscribed = ledger.open_account("subscribed", created_at=NOON - 2 * DAY)
    with transaction() as ctx:
        values = {"current_period_start": NOON, "current_period_end": NOON + DAY}
        rows = insert(Subscription).values(account_id=subscribed, status="active", **values)
        ctx.session.execute(rows)
        anchors = [accounts.anchors(ctx.session, id) for id in (plain, subscribed)]

    assert anchors == [(None, NOON - DAY), (NOON, NOON - 2 * DAY)]


def test_history_is_what_the_main_app_wrote_itself_for_the_account(ledger):
    for slug in ("ours", "theirs", "other"):
        ledger.open_account(slug, credits=5)
    ledger.debit("ours", key="d")
    ledger.app_writes_entry("theirs", -1)

    with transaction() as ctx:
        has_history = {
            slug: accounts.has_history(ctx.session, id) for slug, id in ledger.ids.items()
        }
    assert has_history == {"ours": False, "theirs": True, "other": False}


def test_only_an_account_that_is_neither_deleted_nor_the_apps_own_is_billable():
    row = accounts.HostAccount(1, "acme", None, "active", 0, False, None)

    assert row.is_billable
    assert not row._replace(is_deleted=True).is_billable
    assert not any(row._replace(slug=slug).is_billable for slug in accounts.SYSTEM_SLUGS)
    assert set(accounts.SYSTEM_SLUGS) == {"aws-admin", "default-account", "default"}
