from __future__ import annotations

from pathlib import Path

import pytest

from score_to_audio.comparison.plan import MAX_KEY
from score_to_audio.errors import InputError
from tests.score_to_audio.comparison.trial_comparisons import TRIAL, plan_of, scores


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"renderer": "trail"}, r"sections\.0\.columns\.0: unknown renderer 'trail'; did you mean 'trial'"),
        (TRIAL | {"renderer_options": {"speed": 1}}, "has no option 'speed'"),
        ({"codec": "piano-encodek"}, "did you mean 'piano-encodec'"),
    ],
)
def test_wrong_names_and_options_are_found_before_any_work(
    column: dict[str, object], message: str, place: Path
) -> None:
    with pytest.raises(InputError, match=message):
        plan_of(scores(place), [column])


def test_a_reference_is_the_label_of_a_column(place: Path) -> None:
    columns = [TRIAL | {"label": "a"}, TRIAL | {"label": "b"}]
    (section,) = plan_of(scores(place), columns, of_section={"reference": "b"}).sections
    assert section.reference == section.conditions[1].key
    with pytest.raises(InputError, match="no column is called 'x'; there are: a, b"):
        plan_of(scores(place), columns, of_section={"reference": "x"})


def test_equal_names_are_numbered(place: Path) -> None:
    row = scores(place)[0] | {"title": "minuet"}
    plan = plan_of([row, row, row | {"title": "minuet (2)"}], [TRIAL, TRIAL, TRIAL | {"label": "a"}])
    (section,) = plan.sections
    assert [one.name for one in section.rows] == ["minuet", "minuet (2)", "minuet (2) (2)"]
    assert [one.label for one in section.conditions] == ["trial + trial", "trial + trial (2)", "a"]
    assert [one.key for one in section.conditions] == ["trial-trial", "trial-trial-2", "trial-trial-3"]
    assert plan.cell_count == 9


def test_long_keys_end_with_a_hash(place: Path) -> None:
    columns = [TRIAL | {"renderer_options": {"log": 30 * "long" + end}} for end in "ab"]
    one, other = (condition.key for condition in plan_of(scores(place), columns).sections[0].conditions)
    assert one[:MAX_KEY] == other[:MAX_KEY]
    assert one != other
