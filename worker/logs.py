"""Logging: structlog for us and for every library, JSON or console, ids and counts only."""

import logging
import sys
import traceback
from typing import TextIO

import redis
import structlog
from structlog.typing import ExcInfo, Processor

from worker.settings import settings

#: These write a task's arguments or result into their lines, and Stripe's SDK what was asked and
#: answered; the base task logs in their place.
_TALKATIVE = ("celery.worker.strategy", "celery.app.trace", "stripe")

_SHARED: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
)


#: Errors whose words are about servers and never about a message.
_SPEAKS_OF_SERVERS = (OSError, redis.ConnectionError, redis.TimeoutError)


def where(exc_info: ExcInfo) -> str:
    """A traceback that tells where and what, and not with which values.

    Neither the values of variables nor an error's words are shown, for either may quote a message;
    the words are in the dead letter.
    """
    parts: list[str] = []
    link: BaseException | None = exc_info[1]
    while link is not None:
        words = f": {link}" if isinstance(link, _SPEAKS_OF_SERVERS) else ""
        frames = traceback.extract_tb(link.__traceback__)
        lines = [f"  {f.filename}:{f.lineno} in {f.name}\n" for f in frames]
        parts.append("".join(lines) + f"{type(link).__module__}.{type(link).__qualname__}{words}")
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "\n  after:\n".join(parts)


class _ToStandardError(logging.StreamHandler[TextIO]):
    """Writes to what standard error is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        self.stream = sys.stderr
        super().emit(record)


def configure(level: str | None = None) -> None:
    """Send every log line of this process to standard error, in the configured form.

    Raises BadSettings.
    """
    config = settings()
    last: Processor
    if config.log_format == "json":
        last = structlog.processors.JSONRenderer()
    else:
        last = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=(
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.ExceptionRenderer(where),
            last,
        ),
    )
    handler = _ToStandardError()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level or config.log_level)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    structlog.configure(
        processors=(*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter),
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module."""
    log: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return log
