"""The flow ``batch``: the work of ``score-to-audio`` for long lists of scores."""

# Annotations are objects here for the same reason as in pipeline.py.

from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from flows.pipeline import RUNNER, carry_out, run_name
from score_to_audio import defaults
from score_to_audio.stages import AudioFormat

SHARD = 100
"""Scores whose tasks are submitted at once."""


@flow(name="batch", flow_run_name=run_name, task_runner=RUNNER)
def batch(
    scores: list[Path],
    output: Path = Path("output"),
    renderer: str = defaults.RENDERER,
    synthesizer: str = defaults.SYNTHESIZER,
    renderer_options: dict[str, Any] | None = None,
    synthesizer_options: dict[str, Any] | None = None,
    score_options: dict[str, Any] | None = None,
    prompt: str | None = None,
    seed: Annotated[int, Field(ge=0)] = 0,
    format: AudioFormat | list[AudioFormat] = "wav",
    device: str = "auto",
) -> State[None]:
    """Turn any number of scores into performance MIDI and audio, a hundred at a time.

    A score that fails does not stop the others. To resume, or to try failed scores again, run it again: what
    is in the store already is not made again.

    Args:
        scores: Score files, folders or glob patterns.
        output: Folder for the results and their record, manifest.jsonl.
        renderer: Stage 1; `score-to-audio models list` shows the names.
        synthesizer: Stage 2; `score-to-audio models list` shows the names.
        renderer_options: Options of the renderer; `score-to-audio models show NAME` lists them.
        synthesizer_options: Options of the synthesizer.
        score_options: Options of the score reader.
        prompt: A prompt of the library, or an audio file with its .mid beside, where a synthesizer takes one.
        seed: For models that draw; the same seed gives the same bytes.
        format: Audio format or formats of the results.
        device: auto, cpu or cuda.
    """
    return carry_out(
        scores,
        output,
        shard=SHARD,
        renderer=renderer,
        synthesizer=synthesizer,
        renderer_options=renderer_options,
        synthesizer_options=synthesizer_options,
        score_options=score_options,
        prompt=prompt,
        seed=seed,
        formats=[format] if isinstance(format, str) else format,
        device=device,
    )
