"""Logging to stderr: warnings as plain text, or everything as JSON lines.

``SCORE_TO_AUDIO_LOG=json`` writes one JSON object per line: time (UTC), level, logger, message, and the
fields of ``extra``. Results are logged too then, not only warnings.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import TextIO

KINDS = ("text", "json")
LOGGERS = ("score_to_audio", "flows", "adapters", "renderers", "synthesizers")
ORDINARY = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""Attributes of every record; all others come from ``extra``."""


def wanted() -> str:
    """ "text" or "json". Raises ``InputError`` for anything else."""
    kind = os.environ.get("SCORE_TO_AUDIO_LOG") or "text"
    if kind not in KINDS:
        from score_to_audio.errors import InputError

        raise InputError(f"SCORE_TO_AUDIO_LOG is {kind!r}; known: {', '.join(KINDS)}")
    return kind


def configure(*, debug: bool = False) -> None:
    """Log as the environment says, with tracebacks if ``debug``. Raises ``InputError``."""
    if wanted() == "text":
        handler = ToStderr()
        handler.setFormatter(logging.Formatter("%(message)s") if debug else MessageOnly())
        logging.basicConfig(level=logging.WARNING, handlers=[handler])
    else:
        use_json_lines()


def configure_flow_logging() -> None:
    """Within a flow, where Prefect configures logging: JSON lines if the environment says so."""
    if wanted() == "json":
        use_json_lines()


def use_json_lines() -> None:
    """For the loggers of our packages only."""
    handler = ToStderr()
    handler.setFormatter(JsonLines())
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False


class ToStderr(logging.StreamHandler):
    """Writes to the current ``sys.stderr``, which progress bars replace while they are shown."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)  # that of StreamHandler sets a fixed stream

    @property
    def stream(self) -> TextIO:
        return sys.stderr


class MessageOnly(logging.Formatter):
    """The message without the traceback of its exception."""

    def format(self, record: logging.LogRecord) -> str:
        return record.getMessage()


class JsonLines(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in ORDINARY},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)
