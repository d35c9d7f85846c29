"""The command line: registers the commands, and turns every failure into one line and an exit code."""

from __future__ import annotations

import sys

import typer

from score_to_audio import logs
from score_to_audio.cli import batch, codec, compare, doctor, models, plot, prompts, stages, store, train
from score_to_audio.cli.errors import exit_code, sentence
from score_to_audio.cli.options import EXIT_INTERRUPTED, INTERRUPTED

app = typer.Typer(
    name="score-to-audio",
    help="MusicXML scores in, expressive piano performances out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in (
    *(stages.run, batch.batch, stages.render, stages.synthesize, plot.plot),
    *(compare.compare, compare.votes, doctor.doctor),
):
    app.command()(command)
app.add_typer(models.app, name="models")
app.add_typer(store.app, name="store")
app.add_typer(prompts.app, name="prompts")
app.add_typer(codec.app, name="codec")
app.add_typer(train.app, name="train")


def main() -> None:
    """Entry point: every foreseen failure is one line on stderr and an exit code, never a traceback."""
    if sys.stdout is not None:  # it may be closed
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # names may hold anything
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    from score_to_audio.cli.environment import shadowed_packages

    for problem in shadowed_packages():
        print(f"warning: {problem}", file=sys.stderr)
    try:
        logs.configure(debug=debug)
        app(arguments)
    except SystemExit as ended:
        if ended.code == EXIT_INTERRUPTED:  # what typer makes of Ctrl-C
            print(INTERRUPTED, file=sys.stderr)
        raise
    except Exception as error:
        if debug:
            raise
        print(f"error: {sentence(error)}", file=sys.stderr)
        sys.exit(exit_code(error))


if __name__ == "__main__":
    main()
