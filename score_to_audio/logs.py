"""What the product logs, and how: plain warnings for people, or JSON lines for machines.

``SCORE_TO_AUDIO_LOG=json`` puts one JSON object a line on stderr: time (UTC), level, logger, message, and
what the message is about (``extra``). Then every result is a line too, not only what went wrong.
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
"""What every record has; whatever else it has is what the message is about."""


def wanted() -> str:
    """ "text" or "json". Raises ``InputError`` for anything else."""
    kind = os.environ.get("SCORE_TO_AUDIO_LOG") or "text"
    if kind not in KINDS:
        from score_to_audio.errors import InputError

        raise InputError(f"SCORE_TO_AUDIO_LOG is {kind!r}; known: {', '.join(KINDS)}")
    return kind


def configure(*, debug: bool = False) -> None:
    """Send what our packages log to stderr, as the environment says, with tracebacks where ``debug``.

    Raises ``InputError``.
    """
    if wanted() == "text":
        handler = ToStderr()
        handler.setFormatter(logging.Formatter("%(message)s") if debug else Sentences())
        logging.basicConfig(level=logging.WARNING, handlers=[handler])
    else:
        use_json_lines()


def configure_flow_logging() -> None:
    """Within a flow, whose process has handlers of its own: JSON lines where the environment wants them."""
    if wanted() == "json":
        use_json_lines()


def use_json_lines() -> None:
    """For our loggers alone: others belong to whoever runs them."""
    handler = ToStderr()
    handler.setFormatter(JsonLines())
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False


class ToStderr(logging.StreamHandler):
    """Writes to what ``sys.stderr`` is at the moment: while there are progress bars, lines go above them."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)  # StreamHandler's would set a stream

    @property
    def stream(self) -> TextIO:
        return sys.stderr


class Sentences(logging.Formatter):
    """The message alone, also where an exception belongs to it."""

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
