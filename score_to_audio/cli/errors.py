"""How failures are said on the command line."""

from __future__ import annotations

from score_to_audio.cli.options import EXIT_BAD_INPUT, EXIT_FAILED


def sentence(error: Exception) -> str:
    if is_foreseen(error):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'system'}: {error.strerror}"
    return f"{type(error).__name__}: {error} (this is a defect; --debug shows where it happened)"


def exit_code(error: Exception) -> int:
    from score_to_audio.errors import InputError

    return EXIT_BAD_INPUT if isinstance(error, InputError) else EXIT_FAILED


def is_foreseen(error: Exception) -> bool:
    from score_to_audio.errors import InputError, OutputError, StageError, StoreError

    return isinstance(error, InputError | StageError | StoreError | OutputError)
