"""Where the tasks of a batch run: what is said where a library is missing."""

from __future__ import annotations

import sys

import pytest

from score_to_audio.types import InputError


@pytest.mark.slow  # imports Prefect
@pytest.mark.parametrize("runner", ["ray", "dask"])
def test_a_missing_extra_is_one_sentence(runner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.runners import task_runner

    monkeypatch.setitem(sys.modules, f"prefect_{runner}", None)
    with pytest.raises(
        InputError, match=rf"needs the extra `{runner}`: pip install 'score-to-audio\[{runner}\]'"
    ):
        task_runner(runner, 2)  # type: ignore[arg-type]
