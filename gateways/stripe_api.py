"""Stripe's API, read only: the current state of an object, lists and events, as plain dicts.

Errors: StripeAway when Stripe can't be reached or has no time, StripeRefused when it says no. Never
call it with a transaction open.
"""

import datetime as dt
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import stripe

from billing.errors import BillingError, StripeAway, StripeRefused
from gateways.stripe_http import TIMEOUT_S, PatientClient, asked_pause, is_transient
from gateways.stripe_kinds import KINDS, Embedded

#: The version whose shapes we ask for, whatever the account's default is. Old shapes come only
#: from events that Stripe wrote before. https://docs.stripe.com/api/versioning
PINNED = "2026-10-28.endive"
#: The most that Stripe lists at once.
PAGE = 100
#: A million objects in one list are a loop, not a list.
MAX_PAGES = 10_000
#: The longest id that Stripe documents. https://docs.stripe.com/upgrades
MAX_ID_CHARACTERS = 255

#: What Stripe says of an id that it does not know, in its APIs v1 and v2.
_MISSING = frozenset({"resource_missing", "not_found"})
#: ... and of one that it knows, but not for a key of this mode: ours is the wrong key.
_OTHER_MODE = "a similar object exists in"
#: Codes are words; anything else could be a message, which may quote what it should not.
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")

#: The SDK otherwise keeps an id of this machine in the home directory, and sends it along.
stripe.enable_telemetry = False

Object = dict[str, Any]


class StripeGateway:
    """Reads from Stripe with `api_key`, which may be a restricted one that can't write.

    `api_base` is another server that speaks Stripe's language; `sleep` waits between two tries;
    `timeout_s` is how long to wait for a connection, and for each part of an answer.
    """

    def __init__(
        self,
        api_key: str,
        *,
        api_base: str | None = None,
        api_version: str = PINNED,
        sleep: Callable[[float], None] = time.sleep,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._client = stripe.StripeClient(
            api_key,
            stripe_version=api_version,
            base_addresses={"api": api_base} if api_base else None,
            http_client=PatientClient(sleep=sleep, timeout_s=timeout_s),
            # PatientClient has tried often enough.
            max_network_retries=0,
        )

    def fetch(self, kind: str, object_id: str) -> Object | None:
        """The object as it is now, its embedded lists whole; None if Stripe has none of this id.

        `kind` is one of KINDS. An object that was deleted comes with `deleted: true` where Stripe
        remembers it, and as None where not. Raises StripeAway or StripeRefused.
        """
        found = KINDS[kind]
        path = f"{found.path}/{_safe(kind, object_id)}"
        try:
            got = self._get(path, {"expand": [*found.expand]} if found.expand else {})
        except stripe.StripeError as error:
            if _is_missing(error):
                return None
            raise _in_our_words(error, kind) from None
        for name, embedded in found.embedded.items():
            if (got.get(name) or {}).get("has_more"):
                got[name] = self._whole(kind, object_id, got[name], embedded)
        return got

    def list(self, kind: str, **filters: Any) -> Iterator[Object]:
        """Every object of the kind that fits Stripe's own `filters`, newest first, page by page.

        Embedded lists hold their first page only: fetch what you need whole. Raises StripeAway or
        StripeRefused, also in the middle.
        """
        return self._pages(kind, KINDS[kind].path, filters)

    def events(self, *, since: dt.datetime, until: dt.datetime) -> Iterator[Object]:
        """Every event that happened from `since` to `until`, both included, newest first.

        Stripe lists those of the last 30 days. Raises StripeAway or StripeRefused, also in the
        middle. Source: https://docs.stripe.com/api/events/list
        """
        created = {"gte": int(since.timestamp()), "lte": int(until.timestamp())}
        return self.list("event", created=created)

    def _whole(self, kind: str, object_id: str, first: Object, rest: Embedded) -> Object:
        """The embedded list anew and whole: its order need not be that of the first part."""
        filters: Object = {"expand": [*rest.expand]} if rest.expand else {}
        if rest.owner:
            filters[rest.owner] = object_id
        path = rest.path.format(id=_safe(kind, object_id))
        return first | {"data": [*self._pages(kind, path, filters)], "has_more": False}

    def _pages(self, kind: str, path: str, filters: Mapping[str, Any]) -> Iterator[Object]:
        after: str | None = None
        for _ in range(MAX_PAGES):
            place = {"starting_after": after} if after else {}
            try:
                page = self._get(path, {"limit": PAGE, **filters, **place})
            except stripe.StripeError as error:
                raise _in_our_words(error, kind) from None
            yield from page["data"]
            if not page["has_more"]:
                return
            if not page["data"]:
                raise StripeAway(kind=kind, code="empty_page")
            after = page["data"][-1]["id"]
        raise StripeRefused(kind=kind, code="too_many")

    def _get(self, path: str, params: Mapping[str, Any]) -> Object:
        answer = self._client.raw_request("get", path, **params)
        # Not `data`: plain dicts in place of ordered ones. Amounts are integers in Stripe's JSON.
        got: Object = json.loads(answer.body)
        return got


def _safe(kind: str, object_id: str) -> str:
    """The id as one segment of a path; one that could lead elsewhere is refused.

    Ids come out of what was posted to us. Those of old plans and products were chosen freely.
    """
    if not 1 <= len(object_id) <= MAX_ID_CHARACTERS or object_id in {".", ".."}:
        raise StripeRefused(kind=kind, code="impossible_id")
    return quote(object_id, safe="")


def _is_missing(error: stripe.StripeError) -> bool:
    is_unknown = error.http_status == 404 and _code(error) in _MISSING
    return is_unknown and _OTHER_MODE not in (error.user_message or "")


def _in_our_words(error: stripe.StripeError, kind: str) -> BillingError:
    """Our error for the SDK's: its code and Stripe's id of the request, never a message or body."""
    status = error.http_status
    headers = error.headers or {}
    facts: Object = {"kind": kind, "status": status, "code": _code(error)}
    if error.request_id:
        facts["request_id"] = error.request_id
    # Stripe says in JSON what is wrong; else nothing came, or it came from a proxy in between.
    if status is None or not _said(error) or is_transient(status, headers):
        if asked := asked_pause(headers):
            facts["retry_after_s"] = int(asked)
        return StripeAway(**facts)
    if _OTHER_MODE in (error.user_message or ""):
        facts["code"] = "wrong_mode"
    return StripeRefused(**facts)


def _code(error: stripe.StripeError) -> str:
    """Stripe's code of the error, else its type, else the SDK's word for it."""
    said = _said(error)
    for word in (said.get("code"), said.get("type")):
        if isinstance(word, str) and _CODE.fullmatch(word):
            return word
    return type(error).__name__


def _said(error: stripe.StripeError) -> Object:
    """What Stripe wrote of the error; empty if it was not Stripe who answered."""
    body = error.json_body
    said = body.get("error") if isinstance(body, dict) else None
    return said if isinstance(said, dict) else {}
