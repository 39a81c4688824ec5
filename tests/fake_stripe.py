"""A server on 127.0.0.1 that speaks the part of Stripe's REST API that we use; its state is plain dicts.

It is strict where Stripe is: the key, the form of `expand`, the size of a page, the cursor. Faults
are asked for with `fail`, `garble`, `drop` and `stall`.
"""

import json
import threading
from collections import deque
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

KEY = "sk_test_of_the_fake"
#: Where objects of a kind are kept, by what Stripe calls the kind.
HOMES = {
    "charge": "/v1/charges",
    "checkout.session": "/v1/checkout/sessions",
    "credit_note": "/v1/credit_notes",
    "customer": "/v1/customers",
    "dispute": "/v1/disputes",
    "event": "/v1/events",
    "invoice": "/v1/invoices",
    "invoice_payment": "/v1/invoice_payments",
    "payment_intent": "/v1/payment_intents",
    "payment_method": "/v1/payment_methods",
    "price": "/v1/prices",
    "product": "/v1/products",
    "refund": "/v1/refunds",
    "subscription": "/v1/subscriptions",
    "subscription_item": "/v1/subscription_items",
    "v2.core.event": "/v2/core/events",
}
#: Fields that are left out unless expanded, and fields that show an id unless expanded.
LEFT_OUT = {
    "charge": {"refunds"},
    "checkout.session": {"line_items"},
    "invoice": {"payments"},
}
IDS = {"product": "/v1/products", "customer": "/v1/customers", "latest_charge": "/v1/charges"}
#: How many of an embedded list come with its owner, and how many a page holds.
EMBEDDED, USUAL_PAGE, LARGEST_PAGE = 10, 10, 100


class Refusal(Exception):
    """An answer of the fake that is an error, as Stripe writes it."""

    def __init__(self, status, message, *, headers=None, **error):
        super().__init__(message)
        self.status, self.headers = status, headers or {}
        self.body = {"error": {"message": message, "type": "invalid_request_error", **error}}


class FakeStripe:
    """Stripe's objects by home and id; `asked` are the requests that came, oldest first."""

    def __init__(self):
        self.objects = {home: {} for home in HOMES.values()}
        self.asked = []
        self._faults = deque()
        self._released = threading.Event()

    def keep(self, *objects):
        """Keep the objects, and what their lists hold, as they are now; later ones are newer."""
        for each in objects:
            home = HOMES[each["object"]]
            self.objects[home].pop(each["id"], None)
            self.objects[home][each["id"]] = deepcopy(each)
            for value in each.values():
                if isinstance(value, dict) and value.get("object") == "list":
                    held = [inner for inner in value["data"] if inner["object"] in HOMES]
                    self.keep(*reversed(held))

    def fail(self, status, *, after=0, times=1, code="api_error", message="no", **headers):
        """Answer the next requests with an error, `after` so many good ones.

        A header's name is given with _ for -.
        """
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._faults.extend([False] * after)
        self._faults.extend([Refusal(status, message, code=code, headers=named)] * times)

    def garble(self, status):
        """Answer the next request as a proxy in between would: no JSON."""
        self._faults.append(Refusal(status, "", headers={"Content-Type": "text/html"}))
        self._faults[-1].body = None

    def drop(self, *, times=1):
        """Hang up on the next requests."""
        self._faults.extend([None] * times)

    def stall(self, *, times=1):
        """Never answer the next requests."""
        self._faults.extend([self._released.wait] * times)

    def __enter__(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path, query, headers):
        """The answer to a GET as a dict. Raises Refusal; ConnectionError: hang up."""
        self.asked.append((path, query, headers))
        fault = self._faults.popleft() if self._faults else False
        if fault is None:
            raise ConnectionError
        if isinstance(fault, Refusal):
            raise fault
        if fault:
            fault()
            raise ConnectionError
        if headers.get("Authorization") != f"Bearer {KEY}":
            raise Refusal(401, "Invalid API Key provided: sk_test_*******")
        if not headers.get("Stripe-Version"):
            raise Refusal(400, "The fake wants a version with each request")
        return self._found(path, query)

    def _found(self, path, query):
        expand = [value for name, value in query if name.startswith("expand[")]
        if path in self.objects:
            return self._page(path, dict(query), expand)
        home, _, name = path.rpartition("/")
        if home in self.objects:
            return self._one(home, unquote(name), expand)
        owner_home, _, owner_id = home.rpartition("/")
        owner = self._kept(owner_home, owner_id) if owner_home in self.objects else {}
        if name not in owner:
            raise Refusal(404, f"Unrecognized request URL (GET: {path}).")
        if owner[name].get("object") != "list":
            return owner[name]
        return self._page_of(owner[name]["data"], path, dict(query), expand)

    def _one(self, home, object_id, expand):
        return self._shown(self._kept(home, object_id), expand)

    def _kept(self, home, object_id):
        if object_id in self.objects[home]:
            return self.objects[home][object_id]
        if home.startswith("/v2/"):
            raise Refusal(404, f"Event {object_id} not found.", code="not_found")
        what = home.rpartition("/")[2].removesuffix("s")
        raise Refusal(404, f"No such {what}: '{object_id}'", code="resource_missing", param="id")

    def _page(self, path, query, expand):
        newest_first = list(reversed(self.objects[path].values()))
        return self._page_of([o for o in newest_first if _fits(o, query)], path, query, expand)

    def _page_of(self, fitting, path, query, expand):
        limit = int(query.get("limit", USUAL_PAGE))
        if not 1 <= limit <= LARGEST_PAGE:
            raise Refusal(400, "This value must be from 1 to 100", param="limit")
        ids = [each["id"] for each in fitting]
        after = query.get("starting_after")
        if after is not None and after not in ids:
            raise Refusal(400, f"No such object: '{after}'", code="resource_missing")
        start = ids.index(after) + 1 if after else 0
        if not all(each.startswith("data.") for each in expand):
            raise Refusal(400, "This property cannot be expanded")
        inner = [each.removeprefix("data.") for each in expand]
        page = [self._shown(each, inner) for each in fitting[start : start + limit]]
        has_more = start + limit < len(fitting)
        return {"object": "list", "url": path, "has_more": has_more, "data": page}

    def _shown(self, kept, expand):
        """What a reader sees of an object: lists cut, and only what is expanded expanded."""
        shown = deepcopy(kept)
        wanted = {}
        for path in expand:
            name, _, rest = path.partition(".")
            wanted.setdefault(name, []).extend([rest] if rest else [])
        for name in LEFT_OUT.get(kept.get("object"), set()) - set(wanted):
            shown.pop(name, None)
        for name, inner in wanted.items():
            shown[name] = self._expanded(shown, name, inner)
        for value in shown.values():
            if isinstance(value, dict) and value.get("object") == "list":
                value["has_more"] = len(value["data"]) > EMBEDDED
                del value["data"][EMBEDDED:]
        return shown

    def _expanded(self, shown, name, inner):
        value = shown.get(name)
        if isinstance(value, str) and name in IDS:
            return self._shown(self.objects[IDS[name]][value], inner)
        if isinstance(value, dict) and value.get("object") == "list":
            inside = [each.removeprefix("data.") for each in inner]
            return value | {"data": [self._shown(each, inside) for each in value["data"]]}
        if isinstance(value, dict):
            return self._shown(value, inner)
        raise Refusal(400, f"This property cannot be expanded ({name}).")


def _fits(kept, query):
    """Whether the object is one that the list's filters ask for; no list has what was deleted."""
    if kept.get("deleted"):
        return False
    for name, value in query.items():
        field, _, inner = name.removesuffix("]").partition("[")
        if field in {"limit", "starting_after", "expand"}:
            continue
        if field == "created" and not _COMPARE[inner](kept["created"], int(value)):
            return False
        if field != "created" and value != "all":
            have = kept.get(field, {}).get(inner) if inner else kept.get(field)
            if have != value:
                return False
    is_ended = kept["object"] == "subscription" and kept["status"] == "canceled"
    return not (is_ended and "status" not in query)


_COMPARE = {
    "gt": int.__gt__,
    "gte": int.__ge__,
    "lt": int.__lt__,
    "lte": int.__le__,
}


def _handler(fake):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            parts = urlsplit(self.path)
            try:
                answer = fake.answer(parts.path, parse_qsl(parts.query), self.headers)
                self._send(200, answer, {})
            except Refusal as refusal:
                self._send(refusal.status, refusal.body, refusal.headers)
            except ConnectionError:
                self.close_connection = True

        def _send(self, status, answer, headers):
            body = json.dumps(answer).encode() if answer is not None else b"<html>"
            self.send_response(status)
            sent = {"Content-Type": "application/json", "Request-Id": "req_fake", **headers}
            for name, value in sent.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Say nothing: a test that fails shows `asked`."""

    return Handler
