"""Which failures are worth a second attempt."""

from __future__ import annotations

import pytest

from score_to_audio.errors import InputError, OutputError, StageError, StoreError


class OutOfMemoryError(RuntimeError):
    """Named as torch names its own."""


def caused_by(cause: Exception) -> StageError:
    error = StageError("dexter failed")
    error.__cause__ = cause
    return error


@pytest.mark.slow  # imports Prefect
@pytest.mark.parametrize(
    ("error", "worth"),
    [
        (OSError("the disk hiccuped"), True),
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
def test_only_what_can_pass_the_second_time_is_retried(error: Exception | None, worth: bool) -> None:
    from flows.tasks import may_pass_next_time

    assert may_pass_next_time(error) is worth
