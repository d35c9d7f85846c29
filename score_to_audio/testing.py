"""The conformance suite for renderers and synthesizers, built in or third-party.

    @pytest.mark.parametrize("check", renderer_checks("my-renderer"), ids=lambda check: check.__name__)
    def test_conformance(check):
        check()

A check raises ``AssertionError``, which says what is expected.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from score_to_audio.errors import InputError
from score_to_audio.parameters import Parameters
from score_to_audio.plugins import Prompt, Spec
from score_to_audio.registry import Kind, ResolvedPlugin, build, parameters, plugin, resolve
from score_to_audio.types import Controls, Performance, Score, Waveform

HEAVY_MODULES = ("torch", "prefect", "partitura", "scipy", "soundfile", "pretty_midi", "encodec")
"""Listing the plug-ins must not import any of these."""

Check = Callable[[], None]
Result = TypeVar("Result")


@dataclass(frozen=True)
class _Subject:
    """What is checked."""

    kind: Kind
    name: str
    options: Mapping[str, Any]
    prompt: Prompt | None = None

    def build(self) -> Any:
        resolved: ResolvedPlugin[Any] = resolve(self.kind, self.name, self.options, device="cpu")
        return build(resolved)

    def sound(self, performance: Performance, seed: int = 0) -> Waveform:
        waveform: Waveform = self.build().synthesize(performance, prompt=self.prompt, seed=seed)
        return waveform


def renderer_checks(name: str, options: Mapping[str, Any] | None = None) -> list[Check]:
    """The checks of a renderer.

    ``options``: for instance a small checkpoint, and the option with which the model uses its seed.
    """
    checks = [
        *(_check_spec, _check_that_loading_is_light, _check_unknown_option),
        *(
            _check_rendering,
            _check_renderer_seed,
            _check_shortest_score,
            _check_global_generators,
            _check_adjustments,
        ),
    ]
    return _bound(checks, _Subject("renderer", name, options or {}))


def synthesizer_checks(
    name: str, options: Mapping[str, Any] | None = None, *, prompt: Prompt | None = None, trained: bool = True
) -> list[Check]:
    """The checks of a synthesizer. ``trained``: False for arbitrary weights, whose sound does not follow the
    notes."""
    checks = [
        *(_check_spec, _check_that_loading_is_light, _check_unknown_option),
        *(_check_sound, _check_synthesizer_seed, _check_stream, _check_silence),
        *((_check_onset, _check_loudness) if trained else ()),
    ]
    return _bound(checks, _Subject("synthesizer", name, options or {}, prompt))


def _bound(checks: Sequence[Callable[[_Subject], None]], subject: _Subject) -> list[Check]:
    bound: list[Check] = []
    for check in checks:
        one = partial(check, subject)
        one.__name__ = check.__name__.removeprefix("_check_")  # type: ignore[attr-defined]
        bound.append(one)
    return bound


# ----------------------------------------------------------------------------------------- material

EXAMPLE_SCORE = """<?xml version="1.0" encoding="UTF-8"?>
<score-partwise version="4.0">
  <part-list><score-part id="P1"><part-name>Piano</part-name></score-part></part-list>
  <part id="P1">
    <measure number="1">
      <attributes><divisions>2</divisions><key><fifths>0</fifths><mode>major</mode></key>
        <time><beats>4</beats><beat-type>4</beat-type></time><staves>2</staves>
        <clef number="1"><sign>G</sign><line>2</line></clef>
        <clef number="2"><sign>F</sign><line>4</line></clef></attributes>
      <direction placement="above"><direction-type><metronome><beat-unit>quarter</beat-unit>
        <per-minute>96</per-minute></metronome></direction-type><staff>1</staff></direction>
      <direction placement="below"><direction-type><dynamics><mf/></dynamics></direction-type>
        <staff>1</staff></direction>
{first}
    </measure>
{rest}
  </part>
</score-partwise>
"""
"""With two staves, one for each hand."""


def _note(step: str, octave: int, duration: int, staff: int) -> str:
    return (
        f"<note><pitch><step>{step}</step><octave>{octave}</octave></pitch>"
        f"<duration>{duration}</duration><voice>{4 * staff - 3}</voice><staff>{staff}</staff></note>"
    )


def _measure(melody: str, bass: str) -> str:
    upper = "".join(_note(step, 5, 2, 1) for step in melody)
    lower = "".join(_note(step, 3, 4, 2) for step in bass)
    return f"{upper}<backup><duration>8</duration></backup>{lower}"


@cache
def example_score() -> Score:
    """A score of four measures, both hands, 24 notes."""
    first, *rest = (
        _measure(*row) for row in (("CDEF", "CG"), ("GAGE", "CE"), ("FEDC", "FG"), ("DGEC", "GC"))
    )
    numbered = (f'<measure number="{number}">{body}</measure>' for number, body in enumerate(rest, start=2))
    return _score(EXAMPLE_SCORE.format(first=first, rest="\n".join(numbered)))


@cache
def shortest_score() -> Score:
    """A score of one note."""
    rest = "<note><rest/><duration>4</duration><voice>1</voice><staff>1</staff></note>"
    return _score(EXAMPLE_SCORE.format(first=_note("C", 4, 4, 1) + rest, rest=""))


def _score(text: str) -> Score:
    from score_to_audio.formats.scores.reader import ScoreOptions, parse_score

    parse = partial(parse_score, options=ScoreOptions())
    return Score(path=Path("example.musicxml"), content=text.encode(), parse=parse)


def example_performance(*, start: float = 0.0, velocity: int | None = None) -> Performance:
    """Three seconds of playing from ``start`` seconds on: a scale over two chords, with the pedal."""
    pitch = np.array([48, 55, 60, 62, 64, 65, 67, 43, 71])
    onset = start + np.array([0.0, 0.0, 0.0, 0.35, 0.7, 1.05, 1.4, 1.75, 1.75])
    loudness = np.array([50, 48, 70, 72, 75, 78, 84, 60, 80]) if velocity is None else np.full(9, velocity)
    return Performance(
        onset=onset,
        offset=onset + np.array([1.5, 1.5, 0.3, 0.3, 0.3, 0.3, 0.3, 1.2, 1.2]),
        pitch=pitch,
        velocity=loudness,
        controls=Controls(start + np.array([0.05, 1.7, 1.8, 2.9]), np.full(4, 64), np.array([100, 0, 90, 0])),
    )


def no_performance() -> Performance:
    """A performance without notes."""
    times, numbers = np.zeros(0), np.zeros(0, np.int64)
    return Performance(onset=times, offset=times, pitch=numbers, velocity=numbers)


# --------------------------------------------------------------------------------------- all plug-ins


def _check_spec(subject: _Subject) -> None:
    found = plugin(subject.kind, subject.name).spec
    assert isinstance(found, Spec), "a plug-in needs a class attribute `spec`"
    assert found.name == subject.name, f"the spec says {found.name!r}, the entry point {subject.name!r}"
    assert found.version, "the spec needs a version: cached artifacts depend on it"
    assert found.summary, "the spec needs a summary"
    assert "\n" not in found.summary, "the summary is one line"
    assert issubclass(found.parameters, Parameters), "parameters derive from score_to_audio.Parameters"
    for option, field in found.parameters.model_fields.items():
        assert not field.is_required(), f"option {option!r} needs a default"
        assert field.description, f"option {option!r} needs a description"


def _check_that_loading_is_light(subject: _Subject) -> None:
    code = (
        f"import sys; from score_to_audio.registry import spec; spec({subject.kind!r}, {subject.name!r}); "
        f"print(*[m for m in {HEAVY_MODULES!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"loading the plug-in's class fails: {done.stderr}"
    assert not done.stdout.strip(), f"loading the plug-in's class imports {done.stdout.strip()}"


def _check_unknown_option(subject: _Subject) -> None:
    try:
        parameters(subject.kind, subject.name, {"no-such-option": 1})
    except InputError as error:
        assert "no-such-option" in str(error), "the error names the option"
        return
    raise AssertionError("an unknown option must be refused")


def _check_use_of_seed(spec: Spec, *, changed: bool) -> None:
    if spec.uses_seed:
        assert changed, "another seed gives the same result: use it, or leave out `uses_seed`"
    else:
        assert not changed, "the seed changes the result: set `uses_seed` in the spec"


def _without_global_generators(call: Callable[[], Result], attempts: int = 3) -> Result:
    """The result of ``call``, which may neither seed nor use the global generators.

    Other threads of the process, such as Prefect's, draw from Python's generator at times, so a change counts
    when every attempt shows one."""
    for _ in range(attempts):
        before = _generator_states()
        result = call()
        after = _generator_states()[: len(before)]  # torch may be imported meanwhile
        if before == after:
            return result
    raise AssertionError("global random generators must be neither seeded nor used")


def _generator_states() -> list[Any]:
    states: list[Any] = [random.getstate(), str(np.random.get_state())]  # noqa: NPY002 (it must not change)
    if torch := sys.modules.get("torch"):
        states.append(torch.get_rng_state().tolist())
    return states


# --------------------------------------------------------------------------------------- renderers


def _check_rendering(subject: _Subject) -> None:
    score = example_score()
    performance = subject.build().render(score, seed=0)
    assert isinstance(performance, Performance)
    written, played = Counter(score.parsed.notes.pitch.tolist()), Counter(performance.pitch.tolist())
    assert not written - played, f"notes of the score are missing: pitches {sorted(written - played)}"
    if performance.score_ids is not None:
        unknown = set(performance.score_ids) - set(score.parsed.notes.id) - {""}
        assert not unknown, f"score_ids that the score does not have: {sorted(unknown)[:3]}"


def _check_renderer_seed(subject: _Subject) -> None:
    from score_to_audio.formats.midi import performance_to_midi

    renderer = subject.build()
    first, again, other = (
        performance_to_midi(renderer.render(example_score(), seed=seed)) for seed in (3, 3, 4)
    )
    assert first == again, "the same seed must give the same performance"
    _check_use_of_seed(renderer.spec, changed=first != other)


def _check_shortest_score(subject: _Subject) -> None:
    try:
        performance = subject.build().render(shortest_score(), seed=0)
    except InputError as error:
        assert "\n" not in str(error), "a refusal is one sentence"
        return
    assert performance.pitch.tolist() == [60], "one written note is one played note"


def _check_global_generators(subject: _Subject) -> None:
    _without_global_generators(lambda: subject.build().render(example_score(), seed=1))


def _check_adjustments(subject: _Subject) -> None:
    """Expression 0 is even in tempo and dynamics; the defaults change nothing but the start."""
    from score_to_audio.adjustments import LARGEST_STRETCH, LEAD_IN, Adjustments, adjusted, played_onsets

    score = example_score().parsed
    played = subject.build().render(example_score(), seed=0)
    as_rendered = adjusted(played, score, Adjustments())
    shift = as_rendered.onset - played.onset
    np.testing.assert_allclose(shift, max(LEAD_IN - played.onset[0], 0.0), atol=1e-9)
    for column in ("pitch", "velocity"):
        np.testing.assert_array_equal(getattr(as_rendered, column), getattr(played, column))
    if played.score_ids is None:
        return
    even = adjusted(played, score, Adjustments(expression=0.0))
    assert np.ptp(even.velocity) == 0, "expression 0 gives every note one velocity"
    quarters, seconds = played_onsets(as_rendered, score)
    if np.ptp(np.log(np.diff(seconds) / np.diff(quarters))) > np.log(LARGEST_STRETCH):
        return  # as untrained weights play: such tempi are only moved to the bound
    quarters, seconds = played_onsets(even, score)
    period = np.diff(seconds) / np.diff(quarters)
    assert np.ptp(np.log(period)) < 0.1, "expression 0 gives one tempo; score_ids name the notes played"


# ------------------------------------------------------------------------------------ synthesizers


def _check_sound(subject: _Subject) -> None:
    subject.build()
    performance = example_performance()
    waveform = _without_global_generators(lambda: subject.sound(performance))
    assert np.isfinite(waveform.samples).all(), "samples must be numbers"
    assert np.abs(waveform.samples).max() <= 1.0, "samples must lie in [-1, 1]"
    assert np.abs(waveform.samples).max() > 1e-3, "notes must be heard"
    assert waveform.duration > float(performance.onset[-1]), "the last note must be played"


def _check_synthesizer_seed(subject: _Subject) -> None:
    first, again, other = (subject.sound(example_performance(), seed).samples for seed in (3, 3, 4))
    assert np.array_equal(first, again), "the same seed must give the same samples"
    _check_use_of_seed(subject.build().spec, changed=not np.array_equal(first, other))


def _check_stream(subject: _Subject) -> None:
    synthesizer = subject.build()
    if not hasattr(synthesizer, "stream"):
        return
    performance = example_performance()
    stream = synthesizer.stream(performance, prompt=subject.prompt, seed=0)
    streamed = np.concatenate(list(stream.blocks), axis=1)
    waveform = subject.sound(performance)
    assert (stream.sample_rate, stream.channels) == (waveform.sample_rate, len(waveform.samples))
    assert np.array_equal(streamed, waveform.samples), "stream and synthesize must give the same samples"


def _check_silence(subject: _Subject) -> None:
    assert np.abs(subject.sound(no_performance()).samples).max(initial=0.0) < 1e-4, "no notes, no sound"


def _check_onset(subject: _Subject) -> None:
    waveform = subject.sound(example_performance(start=0.5))
    level = np.abs(waveform.samples).max(axis=0)
    loud = np.flatnonzero(level > 0.05 * level.max())[0] / waveform.sample_rate
    assert 0.45 < loud < 0.6, f"a note at 0.5 s is heard at {loud:.3f} s"


def _check_loudness(subject: _Subject) -> None:
    sounds = (subject.sound(example_performance(velocity=velocity)).samples for velocity in (30, 110))
    soft, loud = (np.sqrt(np.mean(samples**2)) for samples in sounds)
    assert loud > 1.5 * soft, "a higher velocity must sound louder"
