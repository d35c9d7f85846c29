"""Combinations side by side, and the votes on them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from score_to_audio.cli.display import Display
from score_to_audio.cli.options import EXIT_BAD_INPUT, EXIT_FAILED, RENDERER, SYNTHESIZER, Device, Json, Seed

if TYPE_CHECKING:
    from score_to_audio.comparison.config import ComparisonConfig

YAML_SUFFIXES = (".yaml", ".yml")


def compare(
    rows: Annotated[
        list[str],
        typer.Argument(help="Scores, performances (MIDI, match), recordings; or a comparison's YAML file."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the page and the numbers.")],
    renderers: Annotated[
        str, typer.Option(help="Comma-separated; options as NAME:KEY=VALUE:KEY=VALUE.")
    ] = RENDERER,
    synthesizers: Annotated[str, typer.Option(help="Comma-separated, as above.")] = SYNTHESIZER,
    prompts: Annotated[
        str, typer.Option(help="Comma-separated: names, audio files, none, first-seconds (of the recording).")
    ] = "",
    codecs: Annotated[
        str, typer.Option(help="Comma-separated: piano-encodec, encodec-32khz; of recordings.")
    ] = "",
    recording: Annotated[bool, typer.Option(help="Recordings themselves as a column.")] = True,
    blind: Annotated[str | None, typer.Option(help="A blind test, names hidden: pairs or mushra.")] = None,
    blind_seed: Annotated[int, typer.Option(min=0, help="Of the order in a blind test.")] = 0,
    webmushra: Annotated[bool, typer.Option("--webmushra", help="Also write a test for webMUSHRA.")] = False,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Combinations of renderers and synthesizers side by side: a page to listen to, measures, confidence
    intervals (as a Prefect flow; its server starts first, some 10 s)."""
    from score_to_audio.comparison.config_file import read_plan
    from score_to_audio.comparison.plan import make_plan
    from score_to_audio.errors import InputError
    from score_to_audio.files import check_output_folder

    if blind not in (None, "pairs", "mushra"):
        raise InputError(f"--blind {blind}: write pairs or mushra")
    if len(rows) == 1 and Path(rows[0]).suffix.lower() in YAML_SUFFIXES:
        comparison: Path | ComparisonConfig = Path(rows[0]).absolute()
        read_plan(Path(rows[0]), device=device)  # before the server starts
    else:
        from score_to_audio.comparison.choices import config_from_choices

        comparison = config_from_choices(
            rows,
            renderers=_split(renderers),
            synthesizers=_split(synthesizers),
            prompts=_split(prompts),
            codecs=_split(codecs),
            recording=recording,
            seed=seed,
        )
        make_plan(comparison, device=device)
    check_output_folder(output)
    kind: Literal["pairs", "mushra"] | None = blind  # type: ignore[assignment]
    _run(comparison, output, kind, blind_seed, webmushra, device, as_json)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _run(
    comparison: Path | ComparisonConfig,
    output: Path,
    blind: Literal["pairs", "mushra"] | None,
    blind_seed: int,
    webmushra: bool,
    device: str,
    as_json: bool,
) -> None:
    from flows.compare import compare as flow
    from score_to_audio.comparison.produce import CellsFailed
    from score_to_audio.comparison.report import TEXT, WHOLE
    from score_to_audio.errors import InputError

    with Display(total=1, quiet=as_json) as display, display.item("compare"):
        state = flow(
            comparison,
            output=output.absolute(),
            blind=blind,
            blind_seed=blind_seed,
            webmushra=webmushra,
            device=device,
            return_state=True,
        )
    reason = state.result(raise_on_failure=False)
    if not state.is_completed() and not isinstance(reason, CellsFailed):
        print(f"error: {state.message}", file=sys.stderr)
        raise typer.Exit(EXIT_BAD_INPUT if isinstance(reason, InputError) else EXIT_FAILED)
    print((output / (WHOLE if as_json else TEXT)).read_text("utf-8"), end="")
    print(state.message, file=sys.stderr)
    if not state.is_completed():
        raise typer.Exit(EXIT_FAILED)


def votes(
    files: Annotated[list[Path], typer.Argument(help="What listeners saved on the page of a blind test.")],
    key: Annotated[Path, typer.Option(help="blind-key.json, which was written beside the page.")],
    as_json: Json = False,
) -> None:
    """Who won a blind test: preferences with binomial confidence intervals, or mean ratings."""
    import json
    from dataclasses import asdict

    from score_to_audio.comparison.votes import count_votes, text

    found = count_votes(files, key)
    print(json.dumps(asdict(found)) if as_json else text(found))
