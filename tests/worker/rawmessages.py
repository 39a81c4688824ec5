"""Celery messages as they lie in Redis, good ones and the forms that end or loop a stock worker."""

import base64
import copy
import json
import uuid

import pytest


def body_of(text):
    return base64.b64encode(text.encode()).decode()


def message(task="credits.debit", queue="debits", *, priority=0, **arguments):
    """As Celery writes it (protocol 2)."""
    message_id = str(uuid.uuid4())
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    return {
        "body": body_of(json.dumps([[], arguments, embed])),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": task,
            "id": message_id,
            "shadow": None,
            "eta": None,
            "expires": None,
            "group": None,
            "group_index": None,
            "retries": 0,
            "timelimit": [None, None],
            "root_id": message_id,
            "parent_id": None,
            "argsrepr": "()",
            "kwargsrepr": repr(arguments),
            "origin": "app@host",
            "ignore_result": True,
        },
        "properties": {
            "correlation_id": message_id,
            "reply_to": "",
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": priority,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        },
    }


def raw(message):
    return json.dumps(message).encode()


def with_headers(message, **changes):
    return {**message, "headers": {**message["headers"], **changes}}


def without(message, *path):
    changed = copy.deepcopy(message)
    holder = changed
    for name in path[:-1]:
        holder = holder[name]
    del holder[path[-1]]
    return changed


def properties(message, **changes):
    return {**message, "properties": {**message["properties"], **changes}}


def _with_body(text):
    return lambda good: raw({**good, "body": body_of(text)})


def _headers(**changes):
    return lambda good: raw(with_headers(good, **changes))


def _properties(**changes):
    return lambda good: raw(properties(good, **changes))


def _top(**changes):
    return lambda good: raw({**good, **changes})


#: id -> how it is made of a good message
POISON = {
    "not JSON": lambda good: b"hello",
    "nothing at all": lambda good: b"",
    "binary": lambda good: b"\x80\x04\x95\x00\xff",
    "not ASCII": lambda good: raw(good)[:-1] + ', "name": "Zoë"}'.encode(),
    "cut off in the middle": lambda good: raw(good)[:100],
    "a JSON number": lambda good: b"5",
    "a JSON null": lambda good: b"null",
    "a JSON list": lambda good: b"[1, 2]",
    "an empty object": lambda good: b"{}",
    "nested 100,000 deep": lambda good: b"[" * 100_000,
    "no body": lambda good: raw(without(good, "body")),
    "a body that is a number": _top(body=5),
    "a body that is not base64": _top(body="%%%"),
    "a body that is not JSON": _with_body("hello"),
    "a body of the wrong shape": _with_body('{"args": []}'),
    "a body nested 100,000 deep": _with_body("[" * 100_000),
    "an unknown body_encoding": _properties(body_encoding="rot13"),
    "pickle": _top(**{"content-type": "application/x-python-serialize"}),
    "an unknown content-type": _top(**{"content-type": "text/vnd.none"}),
    "no content-type": lambda good: raw(without(good, "content-type")),
    "an unknown content-encoding": _top(**{"content-encoding": ["utf-8"]}),
    "an unknown task": _headers(task="credits.print_money"),
    "a task that is no text": _headers(task=["credits.debit"]),
    "no id": lambda good: raw(without(good, "headers", "id")),
    "an id with a NUL": _headers(id="a\x00b"),
    "no headers": lambda good: raw(without(good, "headers")),
    "no delivery tag": lambda good: raw(without(good, "properties", "delivery_tag")),
    "no delivery info": lambda good: raw(without(good, "properties", "delivery_info")),
    "a routing key that is no text": _properties(delivery_info={"exchange": "", "routing_key": 5}),
    "an eta in words": _headers(eta="soon"),
    "an eta before the calendar": _headers(eta="0001-01-01T00:00:00+14:00"),
    "an expiry as a number": _headers(expires=5),
    "retries in words": _headers(retries="twice"),
    "retries below any number": _headers(retries=-(10**30)),
    "a time limit in words": _headers(timelimit="short"),
    "a shadow name that is a list": _headers(shadow=["x"]),
    "stamps that are a number": _headers(stamps=5, stamped_headers=[5]),
    "compressed": _headers(compression="gzip"),
    "with callbacks": _with_body('[[], {}, {"callbacks": [{"task": "celery.accumulate"}]}]'),
}
every_poison = pytest.mark.parametrize("poison", [pytest.param(f, id=n) for n, f in POISON.items()])
