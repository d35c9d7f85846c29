"""Pictures of performances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from score_to_audio.adjustments import Adjustments, only_measures, played_measures
from score_to_audio.cli.options import renderer_settings
from score_to_audio.errors import InputError
from score_to_audio.files import replacing
from score_to_audio.parameters import validated
from score_to_audio.settings import PipelineSettings, flatten_parameters
from score_to_audio.wording import brief

if TYPE_CHECKING:
    from score_to_audio.types import ParsedScore, Performance

LONGEST_TITLE = 70
"""Characters, so that it fits beside the renderer and the measures."""


@flatten_parameters(settings=renderer_settings)
def plot(
    source: Annotated[Path, typer.Argument(help="A score, which is rendered, or a performance MIDI file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="SVG or PNG file to write.")],
    score: Annotated[
        Path | None, typer.Option(help="The score of a performance that `render` made: adds the tempo.")
    ] = None,
    humans: Annotated[
        list[Path] | None,
        typer.Option(
            help="Match files of human performances of the score, or folders of them; repeatable. Adds the "
            "mean and spread of their tempo, dynamics and pedal."
        ),
    ] = None,
    measures: Annotated[
        str | None, typer.Option(help="1-16: only these measures, by their printed numbers.")
    ] = None,
    *,
    settings: PipelineSettings,
) -> None:
    """Draw a performance: piano roll, pedal, dynamics, tempo; or its curves beside those of humans."""
    from score_to_audio.outputs import delivering

    if output.suffix.lower() not in (".svg", ".png"):
        raise InputError(f"{output}: `plot` writes SVG or PNG; name a .svg or .png file")
    matches = _match_files(humans or ())
    with delivering(output, [source, *([score] if score else []), *matches]):
        svg = _picture(source, score, matches, measures, settings)
        with replacing(output) as temporary:
            temporary.write_bytes(_as_png(svg) if output.suffix.lower() == ".png" else svg.encode())


def _picture(
    source: Path,
    score: Path | None,
    matches: Sequence[Path],
    measures: str | None,
    settings: PipelineSettings,
) -> str:
    from score_to_audio import stages
    from score_to_audio.comparison.listening.piano_roll import piano_roll
    from score_to_audio.formats.midi import read_performance
    from score_to_audio.formats.scores.reader import read_score
    from score_to_audio.store import default_store

    pipeline, midi = settings.resolve(), source
    if source.suffix.lower() != ".mid":
        store = default_store()
        result = stages.render(source, pipeline.renderer, store, score_options=pipeline.score_options)
        midi, score = store.path(result.artifact), source
    performance = read_performance(midi)
    parsed = read_score(score, pipeline.score_options).parsed if score else None
    if parsed and not _is_performance_of(parsed, performance):
        raise InputError(f"{source} is no performance of {score}; give its own score, or omit --score")
    passage = validated(Adjustments, {"measures": measures}).measures
    if passage and not parsed:
        raise InputError(f"{source}: --measures needs the score; give it as the source or with --score")
    title = brief((parsed.title if parsed else "") or source.stem, LONGEST_TITLE)
    if not matches:
        by = f" · {settings.renderer}" if midi is not source else ""
        if passage and parsed:
            performance = only_measures(performance, parsed, passage)
            by += f" · measures {passage}"
        return piano_roll(performance, parsed, title=title + by)
    return _beside_humans(source, title, {settings.renderer: performance}, parsed, matches, passage)


def _is_performance_of(score: ParsedScore, performance: Performance) -> bool:
    """Whether at least half of the notes have the id and the pitch of a note of the score."""
    pitch_of = dict(zip(score.notes.id, score.notes.pitch.tolist(), strict=True))
    ids = performance.score_ids or ()
    same = sum(pitch_of.get(id) == pitch for id, pitch in zip(ids, performance.pitch.tolist(), strict=False))
    return 2 * same >= len(performance)


def _as_png(svg: str) -> bytes:
    from resvg_py import svg_to_bytes

    return bytes(svg_to_bytes(svg_string=svg, zoom=2))


def _beside_humans(
    source: Path,
    title: str,
    performances: Mapping[str, Performance],
    score: ParsedScore | None,
    matches: Sequence[Path],
    measures: str | None,
) -> str:
    """The curves over the score. Raises ``InputError`` if the performances are not of this score."""
    from score_to_audio.comparison.listening.curves import expression_curves
    from score_to_audio.formats.matches import read_match

    if score is None:
        raise InputError(f"{source}: --humans needs the score; give it as the source or with --score")
    first, last = played_measures(score, measures) if measures else (0, None)
    people = [read_match(path) for path in matches]
    try:
        return expression_curves(
            score, performances, people, title=title, first_measure=first, last_measure=last
        )
    except ValueError as error:
        raise InputError(
            f"{source}: {error}; the match files must be of this score, with its note ids"
        ) from error


def _match_files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        found = sorted(path.glob("*.match")) if path.is_dir() else [path]
        if not found:
            raise InputError(f"{path}: no .match files in this folder")
        files += found
    return files
