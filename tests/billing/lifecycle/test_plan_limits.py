"""A breach of a plan's limit is recorded, leaves one event, and nothing is deleted."""

import pytest
from sqlalchemy import delete, insert, select, update

from billing.lifecycle import plan_limits
from flows import sweeps
from models.host import Plan, Sector, Site, User
from models.life import LimitBreach
from worker.database import transaction


@pytest.fixture
def acme(life):
    """An account whose plan allows one site and one user."""
    life.open_account("acme")
    return life


def add(life, kind, count, slug="acme", **fields):
    with transaction() as ctx:
        for number in range(count):
            name = f"{kind.__name__}{number}"
            values = {
                Site: {"name": name, "slug": name},
                User: {"email": f"{slug}-{name}@example.com", "role": "editor"},
                Sector: {"site_id": number + 1},
            }[kind]
            ctx.session.execute(insert(kind).values(account_id=life.ids[slug], **values, **fields))


def look(life):
    return [result.what for result in life.act(plan_limits.sweep).results]


def told(life):
    return [payload for _, payload in life.events("plan.limit_exceeded")]


def breaches(life):
    rows = select(LimitBreach.what, LimitBreach.used, LimitBreach.allowed).where(
        LimitBreach.account_id == life.ids["acme"], LimitBreach.ended_at.is_(None)
    )
    with transaction() as ctx:
        return sorted(tuple(row) for row in ctx.session.execute(rows))


def test_an_account_within_its_plan_is_left_alone(acme):
    add(acme, Site, 1)
    add(acme, User, 1)

    assert look(acme) == []


def test_a_breach_leaves_one_event(acme):
    add(acme, Site, 3)

    look(acme)
    look(acme)

    assert told(acme) == [{"what": "sites", "used": 3, "allowed": 1}]


def test_sites_that_have_sectors_and_users_count_too(acme):
    add(acme, Site, 2, is_active=False)
    add(acme, Sector, 2)
    add(acme, User, 4)

    look(acme)

    assert breaches(acme) == [("sites_with_sectors", 2, 1), ("users", 4, 1)]


def test_a_downgrade_shows(acme):
    with transaction() as ctx:
        ctx.session.execute(update(Plan).values(max_sites=5))
    add(acme, Site, 3)
    assert look(acme) == []

    with transaction() as ctx:
        ctx.session.execute(update(Plan).values(max_sites=2))

    assert look(acme) == ["limit_exceeded"]


def test_a_breach_that_grows_is_updated_and_leaves_no_second_event(acme):
    add(acme, User, 2)
    look(acme)
    with transaction() as ctx:
        ctx.session.execute(update(User).where(User.id == 1).values(email="x@example.com"))
    add(acme, User, 1)

    look(acme)

    assert (len(told(acme)), breaches(acme)) == (1, [("users", 3, 1)])


def test_a_breach_that_ended_and_comes_back_leaves_another_event(acme):
    add(acme, Site, 2)
    look(acme)
    with transaction() as ctx:
        ctx.session.execute(delete(Site).where(Site.id == 1))
    assert look(acme) == ["limit_kept"]
    assert breaches(acme) == []

    with transaction() as ctx:
        ctx.session.execute(
            insert(Site).values(account_id=acme.ids["acme"], name="x", slug="x", is_active=True)
        )
    look(acme)

    assert len(told(acme)) == 2


@pytest.mark.parametrize(
    ("slug", "fields"),
    [
        pytest.param("aws-admin", {}, id="a system account"),
        pytest.param("acme", {"is_deleted": True}, id="a deleted account"),
        pytest.param("acme", {"plan": None}, id="an account without a plan"),
    ],
)
def test_has_no_limits(life, slug, fields):
    life.open_account(slug, **fields)
    add(life, Site, 3, slug)

    assert look(life) == []


def test_every_account_is_looked_at_a_page_at_a_time(life):
    for number in range(7):
        life.open_account(f"acme{number}")
        add(life, Site, 2, f"acme{number}")

    def by_three(ctx, *, after):
        return plan_limits.sweep(ctx, after=after, limit=3)

    assert sweeps.counts(sweeps.over_all(by_three)) == {"limit_exceeded": 7}


def test_of_more_accounts_than_a_run_can_look_at_the_next_run_looks_at_the_rest(life, redis_client):
    for number in range(7):
        life.open_account(f"acme{number}")
    seen = []

    def by_three(ctx, *, after):
        page = plan_limits.sweep(ctx, after=after, limit=3)
        seen.append((after, page.last))
        return page

    for _ in range(5):
        sweeps.over_all(by_three, budget_s=0.0, name="limits")

    assert seen == [(0, 3), (3, 6), (6, 7), (7, None), (0, 3)]
