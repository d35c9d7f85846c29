"""Which errors are worth another attempt, and what the user reads."""

from __future__ import annotations

import errno

import pytest

from score_to_audio.errors import InputError, OutputError, StageError, StoreError, is_retryable, sentence


class OutOfMemoryError(RuntimeError):
    """Named as torch names its own."""


def caused_by(cause: Exception) -> StageError:
    error = StageError("dexter failed")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (OSError("a disk error"), True),
        (TimeoutError(), True),
        (MemoryError(), True),
        (OutOfMemoryError(), True),
        (caused_by(OutOfMemoryError()), True),
        (caused_by(ZeroDivisionError()), False),
        (StageError("nothing but silence"), False),
        (InputError("no notes"), False),
        (StoreError("full"), False),
        (OutputError("full"), False),
        (KeyError("defect"), False),
        (None, False),
    ],
)
def test_out_of_memory_and_io_errors_are_retryable(error: Exception | None, retryable: bool) -> None:
    assert is_retryable(error) is retryable


def test_system_errors_name_the_file() -> None:
    assert sentence(PermissionError(errno.EACCES, "Permission denied", "out")) == "out: Permission denied"
    assert sentence(StoreError("the store is full")) == "the store is full"
    assert sentence(KeyError()) == "KeyError"
