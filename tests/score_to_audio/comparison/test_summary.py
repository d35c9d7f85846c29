from __future__ import annotations

from pathlib import Path

from score_to_audio.store import Store
from tests.score_to_audio.comparison.trial_comparisons import run, write_recording
from tests.synthesizers.midi_valle_checkpoints import write_codec


def test_codecs_reconstruct_and_embed(place: Path, store: Store) -> None:
    codec = str(write_codec(place / "codec.bin").weights)
    _, wav = write_recording(place)
    rows, columns = [{"recording": str(wav)}], [{"recording": True}, {"codec": codec}]
    result = run(store, rows, columns, measures=["frechet"], embedding=codec)
    assert not result.failures
    assert result.notices == ()
    (summary,) = (one for one in result.sections[0].summaries if one.measure == "frechet_distance")
    assert summary.condition == "codec-codec"
    assert summary.mean > 0
    assert result.quantities[-1].label.startswith("FAD (")
    without = run(store, rows, columns, measures=["frechet"], embedding="piano-encodec")
    assert "models pull piano-encodec" in without.notices[0]
    assert not without.quantities
