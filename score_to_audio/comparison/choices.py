"""A comparison from the lists of the command line: every renderer with every synthesizer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from score_to_audio import jobs, registry
from score_to_audio.comparison.config import ComparisonConfig
from score_to_audio.comparison.config_file import validated
from score_to_audio.errors import InputError
from score_to_audio.prompts import AUDIO_SUFFIXES

PLAYED_SUFFIXES = (".mid", ".midi", ".match", *AUDIO_SUFFIXES)
"""Of performances and recordings; everything else is a score, a folder of scores or a pattern."""
FIRST_SECONDS = "first-seconds"
NO_PROMPT = "none"
KINDS = ("renderer", "synthesizer", "score")
"""Targets of settings that hold for every plug-in of the kind, and for the score reader."""

Options = dict[str, dict[str, str]]
"""Target -> its options."""


def config_from_choices(
    rows: Sequence[str],
    *,
    renderers: Sequence[str],
    synthesizers: Sequence[str],
    settings: Sequence[str] = (),
    prompts: Sequence[str] = (),
    codecs: Sequence[str] = (),
    recording: bool = False,
    seed: int = 0,
    adjustments: Mapping[str, Any] | None = None,
) -> ComparisonConfig:
    """Scores make one section; performances (MIDI, match) and recordings (with the MIDI file of the same name
    beside, if there is one) make another, in which recordings and ``codecs`` are columns too.

    ``settings``: "TARGET.KEY=VALUE"; the target is one of ``KINDS`` or the name of a plug-in in the lists.
    ``prompts``: names, audio files, "none" or "first-seconds". ``adjustments``: fields of
    ``Adjustments``. Raises ``InputError``.
    """
    options = parse_settings(settings, [*renderers, *synthesizers])
    sounds = [(name, prompt) for name in synthesizers for prompt in _prompts(name, prompts)]
    played = [path for row in rows if (path := Path(row).expanduser()).suffix.lower() in PLAYED_SUFFIXES]
    scores = [row for row in rows if Path(row).suffix.lower() not in PLAYED_SUFFIXES]
    sections = []
    if scores:
        columns = [_column(renderer, *sound, options) for renderer in renderers for sound in sounds]
        found = [{"score": str(job.score.absolute())} for job in jobs.plan(scores)]
        sections.append({"title": "Scores", "rows": found, "columns": columns})
    if played:
        columns = [{"recording": True}] if recording else []
        columns += [{"codec": codec} for codec in codecs]
        columns += [_column(None, *sound, options) for sound in sounds]
        found = [_played_row(path.absolute()) for path in played]
        sections.append({"title": "Performances", "rows": found, "columns": columns})
    if not sections:
        raise InputError("name scores, performances or recordings to compare, or a comparison's YAML file")
    content = {
        "seed": seed,
        "score_options": options["score"],
        "adjustments": adjustments or {},
        "sections": sections,
    }
    return validated(content, "the command line")


def parse_settings(settings: Iterable[str], names: Sequence[str]) -> Options:
    """Raises ``InputError`` for other targets than ``KINDS`` and ``names``, and for names with options."""
    for choice in names:
        name, colon, rest = choice.partition(":")
        if colon:
            setting = rest.split(":")[0] or "KEY=VALUE"
            raise InputError(f"{choice!r}: options follow --set; write {name} and --set {name}.{setting}")
    options: Options = {target: {} for target in (*KINDS, *names)}
    for setting in settings:
        option, equals, value = setting.partition("=")
        target, _, key = option.partition(".")
        if not (equals and key):
            raise InputError(f"--set {setting!r}: write TARGET.KEY=VALUE, for instance renderer.tempo=80")
        if target not in options:
            raise InputError(
                f"--set {setting!r}: {target!r} is not in this comparison; known: {', '.join(options)}"
            )
        options[target][key] = value
    return options


def options_of(kind: str, name: str, options: Options) -> dict[str, str]:
    """Of a plug-in. "score" is the target of the score reader, though a renderer has this name too."""
    return options[kind] | ({} if name in KINDS else options[name])


def _prompts(synthesizer: str, prompts: Sequence[str]) -> Sequence[str]:
    """Those that make a difference to this synthesizer."""
    uses_prompt = prompts and registry.spec("synthesizer", synthesizer).uses_prompt
    return prompts if uses_prompt else [NO_PROMPT]


def _played_row(path: Path) -> dict[str, str]:
    if path.suffix.lower() not in AUDIO_SUFFIXES:
        return {"performance": str(path)}
    midi = path.with_suffix(".mid")
    return {"recording": str(path)} | ({"performance": str(midi)} if midi.is_file() else {})


def _column(renderer: str | None, synthesizer: str, prompt: str, options: Options) -> dict[str, Any]:
    column: dict[str, Any] = {}
    labels = []
    for kind, name in (("renderer", renderer), ("synthesizer", synthesizer)):
        if name:
            chosen = options_of(kind, name, options)
            column |= {kind: name, f"{kind}_options": chosen}
            labels.append(" ".join([name, *chosen.values()]))
    label = " + ".join(labels)
    if prompt == NO_PROMPT:
        return column | {"label": label}
    wanted = {"first_seconds": 3} if prompt == FIRST_SECONDS else prompt
    return column | {"label": f"{label}, {Path(prompt).stem}", "prompt": wanted}
