"""A comparison from the lists that the command line takes: every renderer with every synthesizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from score_to_audio import jobs, registry
from score_to_audio.comparison.config import ComparisonConfig
from score_to_audio.comparison.config_file import validated
from score_to_audio.errors import InputError
from score_to_audio.prompts import AUDIO_SUFFIXES

PERFORMANCE_SUFFIXES = (".mid", ".midi", ".match")
FIRST_SECONDS = "first-seconds"
NO_PROMPT = "none"


def config_from_choices(
    rows: Sequence[str],
    *,
    renderers: Sequence[str],
    synthesizers: Sequence[str],
    prompts: Sequence[str] = (),
    codecs: Sequence[str] = (),
    recording: bool = False,
    seed: int = 0,
    score_options: dict[str, Any] | None = None,
) -> ComparisonConfig:
    """Rows by their suffix: performances (MIDI, match), recordings (with a MIDI file of the same name beside,
    if there is one), scores (files, folders, patterns). Scores and the others get a section each.

    ``renderers``, ``synthesizers``: "NAME" or "NAME:KEY=VALUE:KEY=VALUE"; ``prompts``: names, files, "none"
    or "first-seconds". Raises ``InputError``.
    """
    played = [path for row in rows if (path := Path(row).expanduser()).suffix.lower() in _PLAYED]
    scores = [row for row in rows if Path(row).suffix.lower() not in _PLAYED]
    sounds = [
        (name, options, prompt)
        for name, options in map(_named, synthesizers)
        for prompt in _prompts(name, prompts)
    ]
    plain = [_column(None, sound) for sound in sounds]
    sections = []
    if scores:
        columns = [_column(_named(renderer), sound) for renderer in renderers for sound in sounds]
        found = [{"score": str(job.score.absolute()), "title": job.name} for job in jobs.plan(scores)]
        sections.append({"title": "Scores", "rows": found, "columns": columns})
    if played:
        recordings: list[dict[str, Any]] = [{"recording": True}] if recording else []
        recordings += [{"codec": codec} for codec in codecs]
        found = [_played_row(path.absolute()) for path in played]
        sections.append({"title": "Performances", "rows": found, "columns": [*recordings, *plain]})
    if not sections:
        raise InputError("name scores, performances or recordings to compare, or a comparison's YAML file")
    content = {"seed": seed, "score_options": score_options or {}, "sections": sections}
    return validated(content, "the command line")


_PLAYED = (*PERFORMANCE_SUFFIXES, *AUDIO_SUFFIXES)


def _played_row(path: Path) -> dict[str, str]:
    if path.suffix.lower() in PERFORMANCE_SUFFIXES:
        return {"performance": str(path)}
    midi = path.with_suffix(".mid")
    return {"recording": str(path)} | ({"performance": str(midi)} if midi.is_file() else {})


def _named(choice: str) -> tuple[str, dict[str, str]]:
    """ "kth-rules:palette=romantic" -> name and options."""
    name, *settings = choice.split(":")
    options = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not (key and equals):
            raise InputError(f"{choice!r}: write NAME:KEY=VALUE, with more options after further colons")
        options[key] = value
    return name, options


def _prompts(synthesizer: str, prompts: Sequence[str]) -> list[str]:
    """Those that this synthesizer can be told apart by."""
    if not prompts or not registry.spec("synthesizer", synthesizer).uses_prompt:
        return [NO_PROMPT]
    return list(prompts)


def _column(
    renderer: tuple[str, dict[str, str]] | None, sound: tuple[str, dict[str, str], str]
) -> dict[str, Any]:
    synthesizer, options, prompt = sound
    column: dict[str, Any] = {"synthesizer": synthesizer, "synthesizer_options": options}
    parts = [synthesizer, *options.values()]
    if renderer:
        column |= {"renderer": renderer[0], "renderer_options": renderer[1]}
        parts = [f"{' '.join([renderer[0], *renderer[1].values()])} + {' '.join(parts)}"]
    label = " ".join(parts)
    if prompt != NO_PROMPT:
        column["prompt"] = {"first_seconds": 3} if prompt == FIRST_SECONDS else prompt
        label += f", {Path(prompt).stem}"
    return column | {"label": label}
