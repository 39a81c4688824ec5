"""Rows go in by COPY as a statement's would: every text as it was, every error by its name."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DataError, IntegrityError

from billing.postgres import sql
from billing.postgres.transient import is_transient
from worker.database import transaction

pytestmark = pytest.mark.usefixtures("database")
#: What Postgres' text type holds.
TEXT = st.sampled_from(["None", "\\N", "\\.", ""]) | st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"])
)


def copy(lines):
    with transaction() as ctx:
        table = "CREATE TEMP TABLE copied (id int PRIMARY KEY, said text) ON COMMIT DROP"
        ctx.session.execute(text(table))
        sql.copy(ctx.session, "copied", "id, said", lines)
        return list(ctx.session.scalars(text("SELECT said FROM copied ORDER BY id")))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.none() | TEXT, max_size=5))
def test_every_text_comes_out_as_it_went_in(texts):
    assert copy(f"{n}\x1f{sql.copy_text(each)}\n" for n, each in enumerate(texts)) == texts


def test_no_lines_are_no_rows():
    assert copy([]) == []


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        pytest.param(["1\x1fa\n", "1\x1fb\n"], IntegrityError, id="a key twice"),
        pytest.param(["9999999999\x1fa\n"], DataError, id="a number out of range"),
    ],
)
def test_an_error_of_postgres_is_the_one_that_a_statement_raises(lines, error):
    with pytest.raises(error) as caught:
        copy(lines)

    assert not is_transient(caught.value) or error is IntegrityError


def test_an_error_while_a_line_is_made_is_raised_as_it_is():

    def lines():
        yield "1\x1fa\n"
        raise KeyError("made wrong")

    with pytest.raises(KeyError, match="made wrong"):
        copy(lines())
