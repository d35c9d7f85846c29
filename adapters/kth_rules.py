"""The renderer ``kth-rules``: an expressive performance without a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, create_model

from adapters.score_playback import PlaybackParameters
from renderers.kth_rules.palettes import AS_WRITTEN, NEUTRAL, PALETTES
from score_to_audio.plugins import Checkpoint, Spec
from score_to_audio.types import Performance, Score


class _KthRulesParameters(PlaybackParameters):
    """The options of ``kth-rules`` that are not quantities of rules."""

    palette: Literal["neutral", "baroque", "classical", "romantic", "deadpan"] = Field(
        "neutral", description="Named quantities of all rules; deadpan has none, to hear single rules."
    )
    amount: float = Field(
        1.0,
        ge=0,
        le=3,
        description="Times the quantities of tempo and loudness rules: 0 is as written, 2 exaggerates.",
    )


KthRulesParameters = create_model(
    "KthRulesParameters",
    __base__=_KthRulesParameters,
    __doc__="Options of the renderer ``kth-rules``. Quantities that are not given come from the palette.",
    **{
        name: (
            float | None,
            Field(None, ge=-128, le=128, description=f"Quantity of {name}; neutral has {k:g}."),
        )
        for name, k in NEUTRAL.items()
    },  # type: ignore[call-overload]
)


class KthRules:
    """Phrasing, timing, dynamics, articulation and pedal from rules, fitted to human performances."""

    spec: ClassVar[Spec] = Spec(
        name="kth-rules",
        version="2",
        summary="Shapes the score by the KTH rules of performance, tuned on human performances.",
        parameters=KthRulesParameters,
        paper="Friberg, Bresin & Sundberg, Overview of the KTH rule system for musical performance, Advances "
        "in Cognitive Psychology 2(2-3), 2006",
        code_licence="Apache-2.0",
        limits="No styles beyond its palettes; phrases are found by rule, not understood.",
        uses_seed=True,
        process_memory=200,
    )

    def __init__(
        self, parameters: _KthRulesParameters, *, checkpoints: Mapping[str, Checkpoint], device: str
    ) -> None:
        self._parameters = parameters

    def render(self, score: Score, *, seed: int) -> Performance:
        """The score by rules; the seed changes the noise."""
        from renderers.kth_rules.rendering import render

        options = self._parameters
        return render(
            score.parsed,
            quantities(options),
            seed=seed,
            default_tempo=options.default_tempo,
            speed=options.speed,
            upper_start=options.upper_start,
        )


def quantities(options: _KthRulesParameters) -> dict[str, float]:
    """The palette's quantities, those of tempo and loudness times the amount; given quantities unchanged."""
    result = {}
    for name, k in PALETTES[options.palette].items():
        shaped = name.startswith(("tempo_", "loudness_")) and name not in AS_WRITTEN
        given: float | None = getattr(options, name)
        result[name] = (k * options.amount if shaped else k) if given is None else given
    return result
