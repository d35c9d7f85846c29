"""Combinations side by side, and the votes on them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast, get_args

import typer

from score_to_audio.adjustments import Adjustments
from score_to_audio.cli.display import Display
from score_to_audio.cli.options import (
    EXIT_FAILED,
    RENDERER,
    SYNTHESIZER,
    Device,
    Json,
    Seed,
    adjustments,
)
from score_to_audio.comparison.config import MetricName
from score_to_audio.errors import InputError
from score_to_audio.settings import flatten_parameters
from score_to_audio.wording import did_you_mean

if TYPE_CHECKING:
    from score_to_audio.comparison.plan import Plan
    from score_to_audio.comparison.work import Each, Failure

YAML_SUFFIXES = (".yaml", ".yml")

OF_ROWS = ("renderers", "synthesizers", "prompts", "codecs", "recording", "seed")
"""Options that a comparison's file has too."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@flatten_parameters(adjusted=adjustments)
def compare(
    context: typer.Context,
    rows: Annotated[
        list[str],
        typer.Argument(help="Scores, performances (MIDI, match), recordings; or a comparison's YAML file."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the page and the numbers.")],
    renderers: Annotated[str, typer.Option(help="Comma-separated.")] = RENDERER,
    synthesizers: Annotated[str, typer.Option(help="Comma-separated.")] = SYNTHESIZER,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="TARGET.KEY=VALUE; the target is renderer, synthesizer, score (all of that kind), or the "
            "name of a renderer or synthesizer; repeatable.",
        ),
    ] = None,
    prompts: Annotated[
        str, typer.Option(help="Comma-separated: names, audio files, none, first-seconds (of the recording).")
    ] = "",
    codecs: Annotated[
        str, typer.Option(help="Comma-separated: piano-encodec, encodec-32khz; of recordings.")
    ] = "",
    metrics: Annotated[
        str,
        typer.Option(
            help=f"Comma-separated, of: {', '.join(get_args(MetricName))}; default: all but transcription."
        ),
    ] = "",
    recording: Annotated[bool, typer.Option(help="Recordings themselves as a column.")] = True,
    blind: Annotated[str | None, typer.Option(help="A blind test, names hidden: pairs or mushra.")] = None,
    blind_seed: Annotated[int, typer.Option(min=0, help="Of the order in a blind test.")] = 0,
    blind_listen: Annotated[
        float, typer.Option(min=0, help="Seconds of each sound to be heard before a vote; 0: any part.")
    ] = 0.0,
    webmushra: Annotated[bool, typer.Option("--webmushra", help="Also write a test for webMUSHRA.")] = False,
    *,
    adjusted: dict[str, Any],
    seed: Seed = 0,
    device: Device = "auto",
    open_page: Annotated[bool, typer.Option("--open", help="Open the page when it is there.")] = False,
    as_json: Json = False,
) -> None:
    """Combinations of renderers and synthesizers side by side: a page to listen to, metrics, confidence
    intervals.

    Run the same command again to resume, and to retry what failed.
    """
    from score_to_audio.comparison import report
    from score_to_audio.comparison.outputs import check_output, write_outputs
    from score_to_audio.comparison.run import run_comparison
    from score_to_audio.store import default_store

    if blind not in (None, "pairs", "mushra"):
        raise InputError(f"--blind {blind}: write pairs or mushra")
    if len(rows) == 1 and Path(rows[0]).suffix.lower() in YAML_SUFFIXES:
        if adjusted != Adjustments().model_dump():
            raise InputError(f"{rows[0]}: write tempo, expression, measures, transpose under `adjustments`")
        plan = _plan_of_file(Path(rows[0]), settings, device, context)
    else:
        from score_to_audio.comparison.choices import config_from_choices
        from score_to_audio.comparison.plan import make_plan

        config = config_from_choices(
            rows,
            renderers=_split(renderers),
            synthesizers=_split(synthesizers),
            settings=settings or (),
            prompts=_split(prompts),
            codecs=_split(codecs),
            recording=recording,
            seed=seed,
            adjustments=adjusted,
        )
        plan = make_plan(config, device=device)
    if metrics:
        plan = replace(plan, metrics=_metric_names(metrics))
    store = default_store()
    check_output(output, plan, store)
    steps = 2 * plan.cell_count
    with Display(total=steps, quiet=as_json) as display:
        result = run_comparison(plan, store, each=_displayed(display, steps), device=device)
        with display.item("page"):
            outputs = write_outputs(
                result,
                output.absolute(),
                store,
                blind=blind,  # type: ignore[arg-type]
                seed=blind_seed,
                listen=blind_listen,
                webmushra=webmushra,
            )
    print((output / report.WHOLE).read_text("utf-8") if as_json else outputs.text, end="")
    print(outputs.summary, file=sys.stderr)
    if open_page:
        typer.launch(outputs.page.as_uri())
    if result.failures:
        raise typer.Exit(EXIT_FAILED)


def _plan_of_file(path: Path, settings: Sequence[str] | None, device: str, context: typer.Context) -> Plan:
    from score_to_audio.comparison.config_file import read_plan

    if settings:
        raise InputError(f"--set {settings[0]!r}: write options into {path}")
    for name in OF_ROWS:
        source = context.get_parameter_source(name)
        if source and source.name == "COMMANDLINE":
            raise InputError(f"--{name}: {path} says which rows and columns there are; write it there")
    return read_plan(path, device=device)


def _metric_names(text: str) -> tuple[MetricName, ...]:
    known = get_args(MetricName)
    names = _split(text)
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            raise InputError(f"--metrics: unknown metric {name!r}; {hint}known: {', '.join(known)}")
    return tuple(cast(MetricName, name) for name in names)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _displayed(display: Display, total: int) -> Each:
    """``one_by_one`` with its progress: ``total`` steps, or more."""
    from score_to_audio.comparison.work import one_by_one

    done = 0

    def each(
        work: Callable[[Item], Result], items: Sequence[Item], name: Callable[[Item], str]
    ) -> list[Result | Failure]:
        nonlocal done, total
        total = max(total, done + len(items))
        results: list[Result | Failure] = []
        for item in items:
            with display.item(name(item)):
                results += one_by_one(work, [item], name)
            done += 1
            display.overall(done, total, "steps")
        return results

    return each


def votes(
    files: Annotated[list[Path], typer.Argument(help="What listeners saved on the page of a blind test.")],
    key: Annotated[Path, typer.Option(help="blind-key.json, which was written beside the page.")],
    as_json: Json = False,
) -> None:
    """Who won a blind test: preferences with binomial confidence intervals, or mean ratings."""
    import json
    from dataclasses import asdict

    from score_to_audio.comparison.votes import count_votes, text

    result = count_votes(files, key)
    print(json.dumps(asdict(result)) if as_json else text(result))
