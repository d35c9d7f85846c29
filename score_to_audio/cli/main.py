"""Entry point of the command line: registers the commands, turns errors into one line and an exit code."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from types import FrameType

import typer

from score_to_audio import logs
from score_to_audio.cli import (
    batch,
    codec,
    compare,
    doctor,
    models,
    plot,
    prompts,
    run,
    store,
    studio,
    train,
)
from score_to_audio.cli.options import EXIT_FAILED, EXIT_INTERRUPTED
from score_to_audio.errors import ScoreToAudioError, sentence

INTERRUPTED = "interrupted: finished work is kept; run the same command again to continue"
GRACE_SECONDS = 8.0
"""After Ctrl-C the process ends within this time, whatever still runs."""

app = typer.Typer(
    name="score-to-audio",
    help="Scores in, expressive piano performances out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    *(run.run, batch.batch, run.render, run.synthesize, plot.plot),
    *(compare.compare, compare.votes, studio.studio, doctor.doctor),
):
    app.command()(command)
for name, group in {
    "models": models.app,
    "store": store.app,
    "prompts": prompts.app,
    "codec": codec.app,
    "train": train.app,
}.items():
    app.add_typer(group, name=name)


def _print_version(wanted: bool) -> None:
    if wanted:
        from score_to_audio import __version__

        print(f"score-to-audio {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Show the version."
    ),
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks of errors."),
) -> None:
    """Scores in, expressive piano performances out."""


def main() -> None:
    """Run a command: expected errors are one line on stderr and an exit code, never a traceback."""
    if sys.stdout is not None:  # it may be closed
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # names may hold anything
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    for problem in doctor.shadowed_packages():
        print(f"warning: {problem}", file=sys.stderr)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        logs.configure(debug=debug)
        app(arguments)
    except SystemExit as ended:
        if ended.code == EXIT_INTERRUPTED:  # typer's code for KeyboardInterrupt
            print(INTERRUPTED, file=sys.stderr)
        raise
    except Exception as error:
        if debug:
            raise
        print(f"error: {_sentence(error)}", file=sys.stderr)
        sys.exit(error.exit_code if isinstance(error, ScoreToAudioError) else EXIT_FAILED)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    """Ctrl-C: unwind, and end at the latest after ``GRACE_SECONDS`` or at the second Ctrl-C."""
    logging.disable()  # libraries report the interrupt too, at length
    signal.signal(signal.SIGINT, lambda *_: _end_now())
    watchdog = threading.Timer(GRACE_SECONDS, _end_now)
    watchdog.daemon = True
    watchdog.start()
    raise KeyboardInterrupt


def _end_now() -> None:
    print(f"\n{INTERRUPTED}", file=sys.stderr, flush=True)
    os._exit(EXIT_INTERRUPTED)


def _sentence(error: Exception) -> str:
    if isinstance(error, ScoreToAudioError | OSError):
        return sentence(error)
    return f"{type(error).__name__}: {error} (this is a defect; --debug shows where it happened)"


if __name__ == "__main__":
    main()
