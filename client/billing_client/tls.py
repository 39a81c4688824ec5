"""The check of the certificate of a Redis behind TLS (`rediss://`)."""

import logging
import ssl
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

log = logging.getLogger(__name__)

SCHEME = "rediss"
#: The options of a URL that say how the certificate is checked; those of redis-py.
REQUIREMENT, HOST_NAME, CA_FILE = "ssl_cert_reqs", "ssl_check_hostname", "ssl_ca_certs"
_REQUIREMENTS = {
    "required": "required",
    "optional": "required",  # a client makes no difference
    "cert_required": "required",
    "cert_optional": "required",
    "none": "none",
    "cert_none": "none",
}
_ANSWERS = dict.fromkeys(("true", "yes", "1"), "true")
_ANSWERS |= dict.fromkeys(("false", "no", "0"), "false")


def checked(url: str, *, ca_file: str | None = None, verify: bool = True) -> str:
    """Return a URL that says how the certificate is checked: by default chain and host name.

    kombu checks nothing by default, and takes an option that it can't read for "none".

    Args:
        url: A broker's URL. One without TLS is returned as it is.
        ca_file: The file of the authorities to trust, if the URL names none; None: the system's.
        verify: False: accept any certificate, whatever the URL says.

    Raises:
        ValueError: An option can't be read.
    """
    parts = urlsplit(url)
    if parts.scheme != SCHEME:
        return url
    query = dict(parse_qsl(parts.query))
    query[REQUIREMENT] = _one_of(_REQUIREMENTS, REQUIREMENT, query.get(REQUIREMENT, "required"))
    query[HOST_NAME] = _one_of(_ANSWERS, HOST_NAME, query.get(HOST_NAME, "true"))
    if query[REQUIREMENT] == "none" or not verify:
        query[REQUIREMENT], query[HOST_NAME] = "none", "false"
    if ca_file is not None:
        query.setdefault(CA_FILE, ca_file)
    return urlunsplit(parts._replace(query=urlencode(query)))


def is_unchecked(url: str) -> bool:
    """Whether a URL with TLS accepts a certificate of anybody, or of another host."""
    query = dict(parse_qsl(urlsplit(checked(url)).query))
    return query.get(HOST_NAME) == "false"


def celery_options(url: str) -> dict[str, Any] | None:
    """Return `broker_use_ssl` for a URL: Flower reads this, and not the URL; None without TLS."""
    parts = urlsplit(checked(url))
    if parts.scheme != SCHEME:
        return None
    options: dict[str, Any] = {k: v for k, v in parse_qsl(parts.query) if k.startswith("ssl_")}
    is_required = options[REQUIREMENT] == "required"
    options[REQUIREMENT] = ssl.CERT_REQUIRED if is_required else ssl.CERT_NONE
    options[HOST_NAME] = options[HOST_NAME] == "true"
    return options


def warn(url: str) -> None:
    """Warn if the certificate is not checked."""
    if is_unchecked(url):
        log.warning("the certificate of %s is not checked", urlsplit(url).hostname)


def _one_of(words: dict[str, str], option: str, value: str) -> str:
    if value.lower() not in words:
        raise ValueError(f"{option} of the Redis URL is {value!r}, not one of {', '.join(words)}")
    return words[value.lower()]
