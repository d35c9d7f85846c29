"""The networks and the loop: caches, batches, filters and draws."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from synthesizers.midi_valle import decoder_batch
from synthesizers.midi_valle.decoder_batch import DecoderBatch, FusedCaches, SeparateCaches, SharedCache
from synthesizers.midi_valle.decoding import DecodingRequest, first_codebooks, sampler
from synthesizers.midi_valle.layers import DTYPES, Precision
from synthesizers.midi_valle.network import MidiValle, MidiValleConfig, config_from_shapes, parameter_shapes
from synthesizers.midi_valle.sampling import Sampling, draw, exponential_noise, filtered, probabilities
from synthesizers.positions import sinusoidal_positions
from tests.parity.reference.midi_valle import model_of
from tests.synthesizers.midi_valle_checkpoints import TINY, random_tensors


@cache
def model(precision: Precision = "float32") -> MidiValle:
    return model_of(random_tensors(), TINY, precision)


def tokens_for(rows: int, seed: int) -> Tensor:
    generator = Generator().manual_seed(seed)
    columns = [torch.randint(4, size, (rows, 1), generator=generator) for size in TINY.field_rows]
    return torch.cat(columns, dim=1)


def request_for(index: int, *, frames: int = 40) -> DecodingRequest:
    generator = Generator().manual_seed(100 + index)
    prompt = torch.randint(0, 2048, (30 + index, 4), generator=Generator().manual_seed(index))
    length = frames + 3 * index
    return DecodingRequest(tokens_for(12 + 5 * index, index), prompt, generator, length, length)


def generated(count: int, batch_size: int, precision: Precision = "float32") -> dict[int, Tensor]:
    requests = [request_for(index) for index in range(count)]
    choose = sampler(Sampling(0.9, 200, 0.95))
    return dict(first_codebooks(model(precision), requests, choose, batch_size=batch_size))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_same_codes_whatever_the_batch(
    precision: Precision, fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the caches of CPUs without and with matrix instructions."""
    monkeypatch.setattr(decoder_batch, "has_fast_fused_attention", lambda: fused)
    dtype = DTYPES[precision] if fused else torch.float32
    monkeypatch.setattr(model(precision).ar_decoder, "attention_dtype", dtype)
    alone = generated(11, 1, precision)
    for batch_size in (2, 8, 16):
        together = generated(11, batch_size, precision)
        assert all(torch.equal(alone[index], together[index]) for index in range(11))


def test_bounds_are_kept() -> None:
    assert [len(frames) for _, frames in sorted(generated(3, 2).items())] == [40, 43, 46]


def test_all_frames_are_reported_and_batches_refilled() -> None:
    seen: list[int] = []
    requests = [request_for(index, frames=5) for index in range(5)]
    done = first_codebooks(
        model(), requests, sampler(Sampling()), batch_size=2, on_frames=lambda frames: seen.append(frames)
    )
    total = sum(len(frames) for _, frames in done)
    assert sum(seen) == total == sum(request.max_frames for request in requests)
    assert max(seen) == 2


@pytest.mark.parametrize(
    "kind", [SeparateCaches, partial(FusedCaches, max_positions=60), partial(SharedCache, max_positions=60)]
)
def test_cached_steps_give_what_a_pass_over_everything_gives(kind: Callable[..., DecoderBatch]) -> None:
    """The caches of CPUs and of GPUs alike, while another sequence starts and ends in the batch."""
    tokens, frames = tokens_for(17, 3), torch.randint(0, 2048, (25,), generator=Generator().manual_seed(0))
    whole = [model().start(tokens, frames[:end]) for end in range(10, 26)]
    batch = kind(model(), 8)
    stepped = [batch.start(5, tokens, frames[:10], 16)]
    for place in range(10, 25):
        extension: list[int | None] = [None] * batch.rows
        extension[5] = int(frames[place])
        if place == 13:
            batch.start(2, tokens_for(9, 1), frames[:4], 20)
        if place == 20:
            batch.free(2)
        if 13 <= place < 20:
            extension[2] = 7
        stepped.append(batch.step(extension)[5])
    torch.testing.assert_close(torch.stack(stepped), torch.stack(whole), atol=1e-4, rtol=0)


def test_a_row_can_be_used_again() -> None:
    tokens, prompt = tokens_for(17, 3), torch.arange(10)
    for batch in (SeparateCaches(model(), 8), FusedCaches(model(), 8, 60), SharedCache(model(), 8, 60)):
        results = []
        for _ in range(2):
            batch.start(1, tokens, prompt, 5)
            extension = [None, 3] + [None] * (batch.rows - 2)
            results.append(torch.stack([batch.step(extension)[1].clone() for _ in range(3)]))
            batch.free(1)
        torch.testing.assert_close(results[0], results[1])


def test_the_prompt_and_every_codebook_matter() -> None:
    tokens, first = tokens_for(9, 1), torch.arange(12)
    prompt = torch.randint(0, 2048, (20, 4), generator=Generator().manual_seed(0))
    plain = next(model().stage_logits(tokens, prompt, first))
    for book in (0, 3):
        other = prompt.clone()
        other[:, book] = 7
        assert not torch.allclose(plain, next(model().stage_logits(tokens, other, first)))


def test_bfloat16_stays_near_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linear layers, attention and caches. Relative to the logits' spread; the figure at full size is in
    docs/measurements.md."""
    tokens, frames = tokens_for(17, 3), torch.randint(0, 2048, (25,), generator=Generator().manual_seed(0))
    exact = model().start(tokens, frames)
    for dtype in (torch.float32, torch.bfloat16):
        monkeypatch.setattr(model("bfloat16").ar_decoder, "attention_dtype", dtype)
        batch = FusedCaches(model("bfloat16"), 1, 60)
        batch.start(0, tokens, frames[:15], 10)
        for frame in frames[15:].tolist():
            rounded = batch.step([frame] + [None] * (batch.rows - 1))[0]
        assert (exact - rounded).abs().max() < 0.05 * exact.std()


@given(st.integers(1, 300))
def test_positions_are_those_of_the_transformer(count: int) -> None:
    table = sinusoidal_positions(count, 8)
    assert table.shape == (count, 8)
    torch.testing.assert_close(table[0], torch.tensor([0.0, 1.0] * 4))
    last = count - 1
    torch.testing.assert_close(table[last, 2], torch.tensor(last * 1e-1).sin(), atol=1e-4, rtol=0)


def test_the_configuration_is_read_from_the_checkpoint() -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in random_tensors().items()}
    assert config_from_shapes(shapes) == TINY
    assert config_from_shapes(parameter_shapes(MidiValleConfig())) == MidiValleConfig()
    with pytest.raises(ValueError, match="feat_emb"):
        config_from_shapes({"weight": (3, 3)})


# ------------------------------------------------------------------------------------------ sampling


@given(st.integers(0, 2**32), st.integers(1, 4))
def test_draws_are_those_of_multinomial(seed: int, count: int) -> None:
    chances = torch.rand(1, 50, generator=Generator().manual_seed(seed)).softmax(-1)
    ours, torchs = Generator().manual_seed(seed), Generator().manual_seed(seed)
    for _ in range(count):
        drawn = draw(chances, exponential_noise(50, ours)[None])
        assert drawn.item() == torch.multinomial(chances, 1, generator=torchs).item()


@settings(deadline=None)
@given(st.floats(0.1, 3), st.integers(0, 60), st.floats(0.05, 1), st.integers(0, 1000))
def test_filters(temperature: float, top_k: int, top_p: float, seed: int) -> None:
    logits = 3 * torch.randn(2, 40, generator=Generator().manual_seed(seed))
    sampling = Sampling(temperature, top_k, top_p)
    kept = filtered(logits, sampling).isfinite()
    assert kept.gather(-1, logits.argmax(-1, keepdim=True)).all(), "the likeliest always stays"
    if top_k:
        assert (kept.sum(-1) <= top_k).all()
    assert torch.allclose(probabilities(logits, sampling).sum(-1), torch.ones(2))
    smallest_kept = logits.masked_fill(~kept, float("inf")).amin(-1)
    largest_gone = logits.masked_fill(kept, float("-inf")).amax(-1)
    assert (smallest_kept >= largest_gone).all(), "what goes is never likelier than what stays"


def test_top_k_of_one_is_greedy() -> None:
    logits = torch.randn(5, 30, generator=Generator().manual_seed(0))
    chances = probabilities(logits, Sampling(top_k=1))
    noise = torch.stack([exponential_noise(30, Generator().manual_seed(seed)) for seed in range(5)])
    assert torch.equal(draw(chances, noise), logits.argmax(-1))
