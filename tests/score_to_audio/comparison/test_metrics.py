from __future__ import annotations

import numpy as np
import pytest

from score_to_audio import registry, stages
from score_to_audio.comparison.metrics import METRICS
from score_to_audio.formats.scores.reader import ScoreOptions
from score_to_audio.store import Store
from tests.paths import EXAMPLE_SCORES
from tests.score_to_audio.comparison.trial_comparisons import run

MINUET = EXAMPLE_SCORES / "petzold_minuet_bwv_anh114.musicxml"


@pytest.fixture
def humans(store: Store) -> list[str]:
    """Two renderings that stand for human performances."""
    found = []
    for palette in ("baroque", "romantic"):
        renderer = registry.resolve("renderer", "kth-rules", {"palette": palette})
        rendered = stages.render(MINUET, renderer, store, score_options=ScoreOptions())
        found.append(str(store.path(rendered.artifact)))
    return found


def test_no_two_quantities_share_a_key_or_a_label() -> None:
    quantities = [quantity for metric in METRICS for quantity in metric.quantities]
    assert len({quantity.key for quantity in quantities}) == len(quantities)
    assert len({quantity.label for quantity in quantities}) == len(quantities)


def test_expression_is_compared_with_humans(store: Store, humans: list[str]) -> None:
    row = {"score": str(MINUET), "references": humans}
    columns = [{"renderer": name, "synthesizer": "trial"} for name in ("score", "kth-rules")]
    result = run(store, [row], columns, measures=["expression"])
    assert result.notices == ()
    plain, rules = (cell.values for cell in result.sections[0].cells)
    assert rules["human_velocity_correlation"] > 0.9 > plain["human_velocity_correlation"]
    assert rules["human_local_beat_period_correlation"] > 0.9 > plain["human_local_beat_period_correlation"]
    assert rules["human_articulation_distance"] < plain["human_articulation_distance"]
    assert 0 <= plain["human_velocity_within"] < rules["human_velocity_within"] <= 1


def test_a_human_is_compared_with_the_others(store: Store, humans: list[str]) -> None:
    row = {"score": str(MINUET), "performance": humans[0], "references": humans}
    result = run(store, [row], [{"synthesizer": "trial"}], measures=["expression"])
    (values,) = (cell.values for cell in result.sections[0].cells)
    assert values["human_velocity_correlation"] < 0.9999
    assert np.isnan(values["human_velocity_within"])  # one other alone has no spread


def test_figures_depend_on_how_the_score_is_read(store: Store, humans: list[str]) -> None:
    """The same performance and humans, held to the score with repeats and without."""
    row = {"score": str(MINUET), "performance": humans[0], "references": humans}

    def velocity(repeats: bool, kept: Store) -> float:
        result = run(
            kept,
            [row],
            [{"synthesizer": "trial"}],
            measures=["expression"],
            score_options={"repeats": repeats},
        )
        return result.sections[0].cells[0].values.get("human_velocity_correlation", np.nan)

    with_repeats, without = velocity(True, store), velocity(False, store)
    assert np.isfinite(with_repeats)
    assert with_repeats != without
