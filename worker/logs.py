"""Logging: structlog for our code and every library, as JSON or console; ids and counts only."""

import logging
import sys
import traceback
from typing import TextIO

import redis
import structlog
from structlog.typing import EventDict, ExcInfo, Processor

from billing.printable import printable
from worker.settings import settings

#: Loggers that write arguments, results or Stripe's requests and responses into their lines. Of
#: these only errors are written, without their text; the base task logs the rest.
_VERBOSE = ("celery.worker.strategy", "celery.app.trace", "stripe")

_SHARED: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
)


#: Fields of an entry that we write in several lines.
_OF_LINES = ("exception", "stack")
#: Errors whose text is about servers and never about a message; some of Postgres are, too.
_SERVER_ERRORS = (OSError, redis.ConnectionError, redis.TimeoutError)


def _without_text(record: logging.LogRecord) -> bool:
    """Leave of an error of a verbose logger its place, its class and the task; else nothing."""
    error = record.exc_info[1] if record.exc_info else None
    if getattr(error, "is_logged", False):
        return False
    about = vars(record).pop("data", None) or {}
    if isinstance(about, dict) and "name" in about:
        record.task, record.message_id = about["name"], about.get("id")
    record.msg, record.args = "library_error", ()
    return True


def traceback_without_values(exc_info: ExcInfo) -> str:
    """Format a traceback with the places and the errors' classes only.

    Variables and an error's text may quote a message, so they are left out. The text is in the dead
    letter.
    """
    parts: list[str] = []
    link: BaseException | None = exc_info[1]
    while link is not None:
        frames = traceback.extract_tb(link.__traceback__)
        lines = [f"  {f.filename}:{f.lineno} in {f.name}\n" for f in frames]
        name = f"{type(link).__module__}.{type(link).__qualname__}"
        parts.append("".join(lines) + name + _words(link))
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "\n  after:\n".join(parts)


def _words(error: BaseException) -> str:
    """Return the text of an error of a server."""
    from worker.server_errors import sentence_of  # its imports are slow

    words = str(error) if isinstance(error, _SERVER_ERRORS) else sentence_of(error)
    return f": {printable(words)}" if words else ""


def without_codes(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Escape what would control a terminal, or begin a line that looks like another entry."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = printable(value, keep="\n" if key in _OF_LINES else "")
    return event


class _ToStandardError(logging.StreamHandler[TextIO]):
    """A handler that looks up standard error for each record; tests replace it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        self.stream = sys.stderr
        super().emit(record)


def configure(level: str | None = None) -> None:
    """Send every log line of this process to standard error, in the configured format.

    Raises BadSettings.
    """
    config = settings()
    last: tuple[Processor, ...]
    if config.log_format == "json":
        last = (structlog.processors.JSONRenderer(),)
    else:
        last = (without_codes, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()))
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=(
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.ExceptionRenderer(traceback_without_values),
            *last,
        ),
    )
    handler = _ToStandardError()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level or config.log_level)
    for name in _VERBOSE:
        verbose = logging.getLogger(name)
        verbose.setLevel(logging.ERROR)
        verbose.filters[:] = [_without_text]
    structlog.configure(
        processors=(*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter),
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a module."""
    log: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return log
