"""The errors of score-to-audio: one tree, each error one sentence for the user."""

from __future__ import annotations

from typing import ClassVar


class ScoreToAudioError(Exception):
    """Base of all errors that the project raises on purpose.

    The message is one sentence that names the file, the place in it and the way out. The command line prints
    it and exits with ``exit_code``.
    """

    exit_code: ClassVar[int] = 1

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later: an out-of-memory or I/O error caused this one."""
        return is_retryable(self.__cause__)


class InputError(ScoreToAudioError, ValueError):
    """Input that cannot be used: a file, an option or a combination of options."""

    exit_code = 2


class StageError(ScoreToAudioError):
    """A model failed on valid input."""


class StoreError(ScoreToAudioError, OSError):
    """The store cannot be read or written."""

    @property
    def retryable(self) -> bool:
        return False


class OutputError(ScoreToAudioError, OSError):
    """Results cannot be written to the output folder."""

    @property
    def retryable(self) -> bool:
        return False


EXPECTED_ERRORS: tuple[type[Exception], ...] = (ScoreToAudioError, OSError, MemoryError)
"""What one score may fail with while the others go on; anything else is a defect."""


def is_retryable(error: object) -> bool:
    """Whether ``error``, or what caused it, is an out-of-memory or I/O error that may pass."""
    if isinstance(error, ScoreToAudioError):
        return error.retryable
    if isinstance(error, MemoryError | OSError) or type(error).__name__ == "OutOfMemoryError":  # torch's
        return True
    return isinstance(error, BaseException) and is_retryable(error.__cause__)


def sentence(error: BaseException) -> str:
    """What an error tells the user, on one line."""
    if isinstance(error, ScoreToAudioError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'system'}: {error.strerror}"
    return str(error) or type(error).__name__
