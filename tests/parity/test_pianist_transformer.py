"""Pianist Transformer against recordings of the authors' program; tolerances of the fact sheet."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from adapters.pianist_transformer import read_config, read_weights
from renderers.pianist_transformer import official
from renderers.pianist_transformer.generation import Generated, Sampling, generate, prompt, restricted
from renderers.pianist_transformer.generation import choose as choose_token
from renderers.pianist_transformer.midi import MidiMusic, in_milliseconds, read_midi
from renderers.pianist_transformer.network import EMBEDDING, HEAD, UNUSED, PianistTransformer
from renderers.pianist_transformer.tokens import (
    KINDS,
    NOTE_TOKENS,
    PAD,
    RANGES,
    VOCABULARY,
    Notes,
    Pedal,
    decode,
    durations,
    encode,
    intervals,
    one_stroke_at_a_time,
    pedal_times,
)
from renderers.pianist_transformer.windows import Window, windows, without_remade
from tests.parity.golden_files import (
    Recording,
    case_name,
    folder_salt,
    golden_root,
    golden_values,
    load_cases,
    load_config,
)

MODEL = "pianist_transformer"
FOLDER = golden_root() / MODEL
SALT = folder_salt(MODEL)
CONFIG = load_config(MODEL)
TOLERANCE = 1e-4
LONG = 3000
"""Tokens of a case at full size that takes minutes."""
GENERATED = load_cases(MODEL, "generate_*.npz") + load_cases(MODEL, "corrected_*.npz", required=False)


def size_of(name: str) -> str:
    """The configuration of a case by its name: "_tiny" or none."""
    return "_tiny" if "tiny" in name else ""


def filled(size: str) -> dict[str, Tensor]:
    """All tensors of a published file."""
    names = load_config(MODEL, f"state_dict{size}.json")
    tensors = {}
    for name, (shape, _) in names.items():
        tied = CONFIG["tied"].get(name, name)
        values = torch.from_numpy(golden_values(tied, tuple(shape), SALT))
        tensors[name] = values * CONFIG["embedding_scale"] if tied in CONFIG["tied"].values() else values
    return tensors


@cache
def network(size: str, folder: Path) -> PianistTransformer:
    """As the renderer reads it from a file."""
    from safetensors.torch import save_file

    path = folder / f"model{size}.safetensors"
    save_file({name: value for name, value in filled(size).items() if name != HEAD}, path)
    config = read_config(FOLDER / f"config{size}.json")
    built = PianistTransformer(config, read_weights(path, config), torch.float32, "cpu")
    path.unlink()
    return built


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


def columns(notes: Notes) -> NDArray[np.int64]:
    return np.stack([notes.start, notes.end, notes.pitch, notes.velocity], axis=1)


def events(pedal: Pedal) -> NDArray[np.int64]:
    return np.stack([pedal.time, pedal.value], axis=1)


def close(actual: Any, recorded: NDArray[Any], tolerance: float = TOLERANCE) -> None:
    np.testing.assert_allclose(np.asarray(actual), recorded, rtol=0, atol=tolerance)


same = np.testing.assert_array_equal


def test_the_configuration_is_what_the_program_assumes() -> None:
    tokens = CONFIG["tokens"]
    starts = [tokens[f"{kind}_start"] for kind in ("pitch", "velocity", "timing", "pedal")]
    assert [0, *starts, CONFIG["decoder"]["vocab_size"]] == list(KINDS)
    assert [list(ids) for ids in RANGES] == tokens["valid_id_range"]
    defaults = CONFIG["published_generation_defaults"]
    assert Sampling() == Sampling(*(defaults[name] for name in ("temperature", "top_k", "top_p")))
    assert not CONFIG["attention_softcapping_applied"]


@pytest.mark.parametrize("path", load_cases(MODEL, "state_dict*.json"), ids=case_name)
def test_names_and_shapes(path: Path) -> None:
    from renderers.pianist_transformer.network import shapes

    recorded = {name: tuple(shape) for name, (shape, _) in json.loads(path.read_text()).items()}
    assert recorded.pop(HEAD) == recorded[EMBEDDING]
    used = {name: shape for name, shape in recorded.items() if not name.startswith(UNUSED)}
    assert shapes(read_config(FOLDER / path.name.replace("state_dict", "config"))) == used


# -------------------------------------------------------------------------------------------- tokens


def midi(name: str) -> MidiMusic:
    return read_midi((FOLDER / "midi" / f"{name}.mid").read_bytes())


def test_tokens() -> None:
    recording = Recording(FOLDER / "tokens.npz")
    files = [name.removesuffix("_tokens") for name in recording.arrays if name.endswith("_tokens")]
    assert files
    for name in files:
        notes, pedal = in_milliseconds(midi(name))
        same(columns(notes), recording[f"{name}_notes"])
        same(events(pedal), recording[f"{name}_controls"])
        same(encode(notes, pedal), recording[f"{name}_tokens"])
    rows = [
        (case, index, window.end - window.start, window.prompt, window.until - window.first_made)
        for case, (tokens, context, overlap) in enumerate(recording["window_cases"].tolist())
        for index, window in enumerate(windows(int(tokens), int(context), overlap))
    ]
    same(rows, recording["windows"])
    recording.check_complete()


def performed(tokens: NDArray[Any], score: NDArray[Any] | None) -> tuple[Notes, Pedal, NDArray[np.int64]]:
    """Notes, pedal, and the milliseconds at which the pedal has the values of the tokens."""
    own = tokens.astype(np.int64)
    interval = intervals(own, None if score is None else score.astype(np.int64))
    return *decode(own, interval, durations(own)), pedal_times(interval)


def test_events() -> None:
    recording = Recording(FOLDER / "events.npz")
    names = [name.removesuffix("_max_tick") for name in recording.arrays if name.endswith("_max_tick")]
    assert names
    for name in names:
        has_score = f"{name}_score_tokens" in recording
        score = recording[f"{name}_score_tokens"] if has_score else None
        notes, pedal, times = performed(recording[f"{name}_tokens"], score)
        same(columns(notes), recording[f"{name}_notes"])
        same(events(pedal), recording[f"{name}_controls"])
        assert max(notes.end.max(), times.max()) + 1 == recording[f"{name}_max_tick"]
        if score is not None:
            content = official.midi_file(notes, pedal)
            assert messages(content) == messages((FOLDER / f"{name}_rendered.mid").read_bytes())
            heard = read_midi(content)
            same(columns(heard.notes), recording[f"{name}_notes_in_file"])
            same(events(heard.pedal), recording[f"{name}_controls_in_file"])
    recording.check_complete()


def messages(content: bytes) -> tuple[int, list[list[str]]]:
    file = mido.MidiFile(file=io.BytesIO(content))
    tracks = [[str(m) for m in track if m.type != "end_of_track"] for track in file.tracks]
    return file.ticks_per_beat, tracks


def test_editable_files() -> None:
    recording = Recording(FOLDER / "editable.npz")
    cases = [name.removesuffix("_score_grid") for name in recording.arrays if name.endswith("_score_grid")]
    assert cases
    for case in cases:
        own = f"{case}_score" in recording
        score = midi(str(recording[f"{case}_score"]) if own else case.removeprefix("hand_"))
        tokens = recording[f"{case}_tokens"]
        grid = official.score_grid(score).take(np.arange(len(tokens)))
        same(columns(grid), recording[f"{case}_score_grid"])
        notes, pedal, _ = performed(tokens, recording[f"{case}_score_tokens"])
        made = official.editable(score, grid, notes, pedal)
        same(columns(made.notes), recording[f"{case}_notes"])
        same(events(made.pedal), recording[f"{case}_controls"])
        same(made.tempi, recording[f"{case}_tempi"])
        same(made.time_signatures, recording[f"{case}_time_signatures"])
        assert messages(made.file()) == messages((FOLDER / f"{case}_editable.mid").read_bytes())
        expected = one_stroke_at_a_time(replace(notes, end=np.maximum(notes.end, notes.start + 1)))
        onset = read_midi(made.file()).seconds(made.notes.start) * 1000
        close(onset - expected.start, recording[f"{case}_onset_error_ms"], 1e-6)
    recording.check_complete()


# ------------------------------------------------------------------------------------------- network


class _Traced:
    """A layer that stores what it returns."""

    def __init__(self, layer: Any, store: Callable[[Tensor], None]) -> None:
        self.layer, self.store = layer, store

    def __getattr__(self, name: str) -> Any:
        return getattr(self.layer, name)

    def __call__(self, *inputs: Any) -> Tensor:
        output: Tensor = self.layer(*inputs)
        self.store(output)
        return output


@contextmanager
def traced(model: PianistTransformer) -> Iterator[dict[str, Tensor]]:
    """The layers' outputs in the block, by the names of the recordings."""
    outputs: dict[str, Tensor] = {}
    stacks = {"encoder": model.encoder.layers, "decoder": model.decoder.layers}
    before = {name: list(layers) for name, layers in stacks.items()}
    for stack, layers in stacks.items():
        layers[:] = [
            _Traced(layer, lambda output, key=f"{stack}_layer_{index}": outputs.update({key: output}))  # type: ignore[misc]
            for index, layer in enumerate(layers)
        ]
    try:
        yield outputs
    finally:
        for stack, layers in stacks.items():
            layers[:] = before[stack]


def all_logits(model: PianistTransformer, states: Tensor) -> Tensor:
    return torch.cat([model.decoder.logits(states, *ids) for ids in pairwise(KINDS)], dim=-1)


def ids(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(array.astype(np.int64))


@pytest.mark.parametrize("path", load_cases(MODEL, "forward_*.npz"), ids=case_name)
@torch.inference_mode()
def test_forward(path: Path, folder: Path) -> None:
    recording = Recording(path)
    model = network(size_of(path.stem), folder)
    tokens, inputs = ids(recording["input_tokens"]), ids(recording["decoder_input"])
    same((tokens != PAD).sum(1), recording["lengths"])
    notes = tokens.unflatten(1, (-1, NOTE_TOKENS))
    seen, known = official.visibility(tokens)
    with traced(model) as outputs:
        encoded = model.encoder(notes, seen)
        memory = model.decoder.memory(encoded, inputs.shape[1], known)
        decoded = model.decoder(inputs, memory, inputs.shape[1])
    outputs |= {
        "encoder_embeddings": model.encoder.embed(notes),
        "encoder_output": encoded,
        "decoder_output": decoded,
    }
    for name, output in outputs.items():
        close(output[:, recording[f"{name.split('_')[0]}_rows"]], recording[name])
    logits = all_logits(model, decoded)
    close(logits[:, recording["logit_rows"]], recording["logits"])
    close(logits.logsumexp(-1), recording["logits_logsumexp"])
    best = logits.topk(2).values
    close(best[..., 0] - best[..., 1], recording["logits_top2_gap"])
    clear = recording["logits_top2_gap"] > TOLERANCE
    same(logits.argmax(-1).numpy()[clear], recording["logits_argmax"][clear])
    recording.check_complete()


# ---------------------------------------------------------------------------------------- generation


class _Draws:
    """The recorded noise: a call per token of a window, forced ones included."""

    def __init__(self, plan: list[Window], draw: Callable[[int], Callable[[], Tensor]]) -> None:
        self.plan, self.draw = plan, draw
        self.place = (0, -1)
        self.next = draw(0)
        self.latest = torch.empty(0)

    def __call__(self, window: int, token: int, first: int, end: int) -> Tensor:
        while self.place < (window, token):
            index, last = self.place
            if last + 1 == self.plan[index].until - self.plan[index].first_made:
                self.place = index, last = index + 1, -1
                self.next = self.draw(index)
            self.latest = self.next()
            self.place = index, last + 1
        return self.latest[:, first:end]


def noise(recording: Recording, plan: list[Window], items: int) -> Callable[..., Tensor]:
    if "seed" in recording:
        generator = torch.Generator().manual_seed(int(recording["seed"]))
        # As torch.multinomial draws.
        return _Draws(
            plan, lambda _: lambda: torch.empty(items, VOCABULARY).exponential_(generator=generator)
        )
    if "noise_case" not in recording:
        return lambda *_: torch.empty(0)
    name, k = str(recording["noise_case"]), int(recording["noise_k"])

    def draw(window: int) -> Callable[[], Tensor]:
        seed = zlib.crc32(f"{SALT}:ptx-noise-{name}-{window}-{k}".encode())
        source = np.random.Generator(np.random.PCG64(seed))
        return lambda: torch.from_numpy(source.standard_exponential((items, VOCABULARY)).astype(np.float32))

    return _Draws(plan, draw)


def sampling(recording: Recording) -> Sampling:
    if "temperature" not in recording:
        return Sampling(temperature=0)
    return Sampling(float(recording["temperature"]), int(recording["top_k"]), float(recording["top_p"]))


def scores(recording: Recording) -> tuple[Tensor, int]:
    """[B, T] padded score tokens, and B."""
    names = sorted(recording.named("score_tokens_"))
    items = [ids(recording[name]).flatten() for name in names]
    return torch.nn.utils.rnn.pad_sequence(items, batch_first=True, padding_value=PAD), len(items)


def run(
    recording: Recording, model: PianistTransformer, *, corrected: bool
) -> tuple[Generated, list[Window]]:
    score, items = scores(recording)
    plan = windows(score.shape[1], int(recording["max_context_length"]), float(recording["overlap_ratio"]))
    generated = generate(
        model,
        score,
        plan,
        sampling(recording),
        noise(recording, plan, items),
        prompt_of=prompt if corrected else official.shifted_prompt,
        visibility=official.visibility if items > 1 else None,
    )
    return generated, plan


def cases() -> list[Any]:
    def is_long(path: Path) -> bool:
        return not size_of(path.stem) and Recording(path)["windows"][:, 2].sum() > LONG

    return [
        pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if is_long(path) else [])
        for path in GENERATED
    ]


@pytest.mark.parametrize("path", cases())
@torch.inference_mode()
def test_generation(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = Recording(path)
    margins: list[float] = []

    def choose(logits: Tensor, chosen: Sampling, draw: Callable[[], Tensor]) -> Tensor:
        drawn = draw()
        margins.append(margin(logits, chosen, drawn))
        return choose_token(logits, chosen, lambda: drawn)

    monkeypatch.setattr("renderers.pianist_transformer.generation.choose", choose)
    model = network(size_of(path.stem), folder)
    generated, plan = run(recording, model, corrected=path.stem.startswith("corrected"))
    rows = [(w.end - w.start, w.prompt, w.until - w.first_made) for w in plan]
    same(rows, recording["windows"])
    for name in recording.named("window_output_"):
        same(generated.inputs[int(name.rpartition("_")[2])], recording[name])
    for item, tokens in enumerate(generated.tokens):
        score = recording[f"score_tokens_{item}"]
        made = tokens.unflatten(0, (-1, NOTE_TOKENS))[: len(score)].numpy()
        same(made, recording[f"tokens_{item}"])
        notes, pedal, _ = performed(made, score)
        same(columns(notes), recording[f"notes_{item}"])
        same(events(pedal), recording[f"controls_{item}"])
    if "logits" in recording:
        steps = zip(recording["logit_steps"].tolist(), recording["logits"], strict=True)
        for (window, step), expected in steps:
            close(logits_at(model, recording, plan[window], generated.inputs[window], step), expected)
    for name, tolerance in {"min_gap": 1e-4, "min_log_margin": 1e-3}.items():
        if name in recording:
            close(min(margins), recording[name], tolerance)
    recording.check_complete()


def margin(logits: Tensor, chosen: Sampling, drawn: Tensor) -> float:
    """From the best to the second, of logits or of log(p / q)."""
    if chosen.temperature:
        probabilities, order = restricted(logits, chosen)
        logits = (probabilities / drawn.gather(-1, order)).log()
    best = logits.topk(2).values
    return float((best[:, 0] - best[:, 1]).min())


def logits_at(
    model: PianistTransformer, recording: Recording, window: Window, made: Tensor, step: int
) -> Tensor:
    """[B, VOCABULARY] after the window's prompt and ``step`` tokens, from the memory of those before."""
    score, items = scores(recording)
    part = score[:, window.start : window.end]
    seen, known = official.visibility(part) if items > 1 else (None, None)
    encoded = model.encoder(part.unflatten(1, (-1, NOTE_TOKENS)), seen)
    memory = model.decoder.memory(encoded, made.shape[1], known)
    length = 1 + window.prompt + step
    if length > 1:
        model.decoder(made[:, : length - 1], memory, 1)
    return all_logits(model, model.decoder(made[:, length - 1 : length], memory, 1)[:, 0])


@pytest.mark.parametrize("path", load_cases(MODEL, "corrected_*.npz", required=False), ids=case_name)
@torch.inference_mode()
def test_the_default_makes_no_token_twice(path: Path, folder: Path) -> None:
    """The renderer's windows give what the corrected program gives."""
    recording = Recording(path)
    score, items = scores(recording)
    plan = windows(score.shape[1], int(recording["max_context_length"]), float(recording["overlap_ratio"]))
    generated = generate(
        network(size_of(path.stem), folder),
        score,
        without_remade(plan),
        sampling(recording),
        noise(recording, plan, items),
    )
    same(generated.tokens.reshape(-1, NOTE_TOKENS), recording["tokens_0"])
