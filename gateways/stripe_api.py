"""Stripe's API, read only: objects, lists and events as plain dicts.

Raises StripeAway if Stripe can't be reached or is overloaded, StripeRefused if it refuses the
request. Never call it with a transaction open.
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
from gateways.stripe_http import TIMEOUT_S, PatientClient, is_transient, requested_pause
from gateways.stripe_kinds import KINDS, Embedded

#: The API version that we request, whatever the account's default is. Older shapes come only in
#: events that Stripe wrote earlier. https://docs.stripe.com/api/versioning
PINNED = "2026-10-28.endive"
#: The most objects that Stripe lists in a page.
PAGE = 100
#: A list of more than a million objects must be a loop.
MAX_PAGES = 10_000
#: The longest id that Stripe documents. https://docs.stripe.com/upgrades
MAX_ID_CHARACTERS = 255

#: Stripe's codes for an unknown id, in its APIs v1 and v2.
_MISSING = frozenset({"resource_missing", "not_found"})
#: Part of its message for an id of the other mode (live or test): our key is the wrong one.
_OTHER_MODE = "a similar object exists in"
#: Codes are words; anything else could be a message, which may quote personal data.
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")

#: Otherwise the SDK stores an id of this machine in the home directory and sends it.
stripe.enable_telemetry = False

Object = dict[str, Any]


class StripeGateway:
    """A reader of Stripe's API; `api_key` may be a restricted key that can't write.

    `api_base`: another server with Stripe's API. `sleep`: waits between two tries. `timeout_s`: the
    limit for connecting and for each part of an answer.
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
            # PatientClient retries itself.
            max_network_retries=0,
        )

    def fetch(self, kind: str, object_id: str) -> Object | None:
        """Fetch an object with complete embedded lists; None if Stripe does not know the id.

        `kind` is a key of KINDS. A deleted object has `deleted: true` if Stripe still knows it,
        else it is None. Raises StripeAway or StripeRefused.
        """
        spec = KINDS[kind]
        path = f"{spec.path}/{_safe(kind, object_id)}"
        try:
            fetched = self._get(path, {"expand": [*spec.expand]} if spec.expand else {})
        except stripe.StripeError as error:
            if _is_missing(error):
                return None
            raise _translated(error, kind) from None
        for name, embedded in spec.embedded.items():
            if (fetched.get(name) or {}).get("has_more"):
                fetched[name] = self._whole(kind, object_id, fetched[name], embedded)
        return fetched

    def list(self, kind: str, **filters: Any) -> Iterator[Object]:
        """Yield every object of a kind that passes Stripe's `filters`, newest first.

        Embedded lists have only their first page: `fetch` returns complete ones. Raises StripeAway
        or StripeRefused, also between two pages.
        """
        return self._pages(kind, KINDS[kind].path, filters)

    def events(self, *, since: dt.datetime, until: dt.datetime) -> Iterator[Object]:
        """Yield every event from `since` to `until`, both included, newest first.

        Stripe lists the last 30 days. Raises StripeAway or StripeRefused, also between two pages.
        Source: https://docs.stripe.com/api/events/list
        """
        created = {"gte": int(since.timestamp()), "lte": int(until.timestamp())}
        return self.list("event", created=created)

    def _whole(self, kind: str, object_id: str, first: Object, rest: Embedded) -> Object:
        """Fetch the complete embedded list from its start: the first page's order may differ."""
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
                raise _translated(error, kind) from None
            yield from page["data"]
            if not page["has_more"]:
                return
            if not page["data"]:
                raise StripeAway(kind=kind, code="empty_page")
            after = page["data"][-1]["id"]
        raise StripeRefused(kind=kind, code="too_many")

    def _get(self, path: str, params: Mapping[str, Any]) -> Object:
        answer = self._client.raw_request("get", path, **params)
        # Not `answer.data`, which has ordered dicts. Amounts are integers in Stripe's JSON.
        parsed: Object = json.loads(answer.body)
        return parsed


def _safe(kind: str, object_id: str) -> str:
    """Quote an id as one segment of a path; refuse one that could lead to another path.

    Ids come from posted payloads. Ids of old plans and products are free text.
    """
    if not 1 <= len(object_id) <= MAX_ID_CHARACTERS or object_id in {".", ".."}:
        raise StripeRefused(kind=kind, code="impossible_id")
    return quote(object_id, safe="")


def _is_missing(error: stripe.StripeError) -> bool:
    is_unknown = error.http_status == 404 and _code(error) in _MISSING
    return is_unknown and _OTHER_MODE not in (error.user_message or "")


def _translated(error: stripe.StripeError, kind: str) -> BillingError:
    """Translate the SDK's error; keep the code and the request's id, never a message or body."""
    status = error.http_status
    headers = error.headers or {}
    facts: Object = {"kind": kind, "status": status, "code": _code(error)}
    if error.request_id:
        facts["request_id"] = error.request_id
    # Stripe describes an error in JSON; otherwise nothing came, or a proxy answered.
    if status is None or not _error_object(error) or is_transient(status, headers):
        if pause := requested_pause(headers):
            facts["retry_after_s"] = int(pause)
        return StripeAway(**facts)
    if _OTHER_MODE in (error.user_message or ""):
        facts["code"] = "wrong_mode"
    return StripeRefused(**facts)


def _code(error: stripe.StripeError) -> str:
    """Return Stripe's code of the error, else its type, else the SDK's class name."""
    error_object = _error_object(error)
    for word in (error_object.get("code"), error_object.get("type")):
        if isinstance(word, str) and _CODE.fullmatch(word):
            return word
    return type(error).__name__


def _error_object(error: stripe.StripeError) -> Object:
    """Return the error object of Stripe's answer; empty if the answer was not Stripe's."""
    body = error.json_body
    error_object = body.get("error") if isinstance(body, dict) else None
    return error_object if isinstance(error_object, dict) else {}
