"""Checks of the servers' URLs: what no library here can use is refused with the cure.

An error's text quotes the scheme only, because anything else may be a part of the password.
"""

from urllib.parse import urlsplit

#: SQLAlchemy reads a bare postgresql:// as psycopg 3, so psycopg2 is named.
PSYCOPG2 = "postgresql+psycopg2"
_POSTGRES = frozenset({"postgres", "postgresql", PSYCOPG2})
_REDIS = frozenset({"redis", "rediss"})


def postgres_url(url: str) -> str:
    """Return the URL of a Postgres server for psycopg2.

    Raises ValueError with a sentence if it names another database or can't be read.
    """
    scheme, separator, rest = url.strip().partition("://")
    if not separator:
        raise ValueError("It must be a URL: postgresql://user:password@host:5432/database")
    if scheme not in _POSTGRES:
        raise ValueError(f"It must begin with postgresql://, and begins with {scheme}://")
    _check_form(f"postgresql://{rest}")
    return f"{PSYCOPG2}://{rest}"


def redis_url(url: str) -> str:
    """Return the URL of a Redis server.

    Raises ValueError with a sentence if it names another broker or can't be read.
    """
    url = url.strip()
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise ValueError("It must be a URL: redis://host:6379/0")
    if scheme not in _REDIS:
        cure = "; name the primary itself" if "sentinel" in scheme else ""
        raise ValueError(
            f"It must begin with redis:// or rediss://, and begins with {scheme}://{cure}"
        )
    host, path = _check_form(url)
    if not host:
        raise ValueError("It names no host")
    if not (path.strip("/") or "0").isdecimal():
        raise ValueError("The database after the last / must be a number")
    return url


def _check_form(url: str) -> tuple[str | None, str]:
    """Return the host and the path. Raises ValueError."""
    try:
        parts = urlsplit(url)
        if parts.port != 0 and not parts.fragment:
            return parts.hostname, parts.path
    except ValueError:
        pass
    raise ValueError(
        "It can't be read: the port is a number from 1 to 65535, and in a password"
        " @ : / ? # [ ] % are written as %40 %3A %2F %3F %23 %5B %5D %25"
    )
