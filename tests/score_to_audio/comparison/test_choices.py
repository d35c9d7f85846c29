"""The lists and settings of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from score_to_audio.comparison.choices import config_from_choices
from score_to_audio.comparison.plan import ResolvedSynthesis, make_plan
from score_to_audio.errors import InputError
from tests.score_to_audio.comparison.trial_comparisons import write_recording


def test_lists_become_columns(place: Path) -> None:
    midi, wav = write_recording(place)
    config = config_from_choices(
        [str(place / "scores"), str(midi), str(wav)],
        renderers=["score", "kth-rules"],
        synthesizers=["trial", "midi-valle"],
        settings=["kth-rules.palette=romantic", "renderer.speed=0.9", "score.repeats=false"],
        prompts=["none", "first-seconds"],
        codecs=["piano-encodec"],
        recording=True,
    )
    plan = make_plan(config)
    assert plan.score_options.repeats is False
    rendered, played = plan.sections
    assert [condition.label for condition in rendered.conditions] == [
        "score 0.9 + trial",
        "score 0.9 + midi-valle",
        "score 0.9 + midi-valle, first-seconds",
        "kth-rules 0.9 romantic + trial",
        "kth-rules 0.9 romantic + midi-valle",
        "kth-rules 0.9 romantic + midi-valle, first-seconds",
    ]
    assert [condition.label for condition in played.conditions] == [
        *("recording", "piano-encodec", "trial", "midi-valle", "midi-valle, first-seconds")
    ]
    assert [row.name for row in rendered.rows] == ["score-000", "score-001", "score-002"]
    assert played.rows[1].performance == midi
    method = rendered.conditions[3].method
    assert isinstance(method, ResolvedSynthesis)
    assert method.renderer is not None
    options = method.renderer.parameters.model_dump()
    assert (options["speed"], options["palette"]) == (0.9, "romantic")


def test_values_may_hold_colons_commas_and_equals_signs(place: Path) -> None:
    (section,) = config_from_choices(
        [str(place / "scores")],
        renderers=["trial"],
        synthesizers=["sampled-piano"],
        settings=["trial.trouble=a=b,c:d", "trial.log=x.y"],
    ).sections
    (column,) = section.model_dump()["columns"]
    assert column["renderer_options"] == {"trouble": "a=b,c:d", "log": "x.y"}
    assert column["synthesizer_options"] == {}


@pytest.mark.parametrize(
    ("renderer", "setting", "message"),
    [
        ("trial:log=x:pause=1", "", "options follow --set; write trial and --set trial.log=x"),
        ("trial:", "", r"write trial and --set trial\.KEY=VALUE"),
        ("trial", "trail.log=x", "'trail' is not in this comparison; known: .*, trial, sampled-piano"),
        ("trial", "trial.log", r"write TARGET\.KEY=VALUE"),
        ("trial", "log=x", r"write TARGET\.KEY=VALUE"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(
    renderer: str, setting: str, message: str, place: Path
) -> None:
    with pytest.raises(InputError, match=message):
        config_from_choices(
            [str(place / "scores")],
            renderers=[renderer],
            synthesizers=["sampled-piano"],
            settings=[setting] if setting else [],
        )


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(InputError, match="name scores"):
        config_from_choices([], renderers=["score"], synthesizers=["trial"])
