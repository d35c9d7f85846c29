"""M2A's decoder beyond parity: caches, batches, masks and limits."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from score_to_audio.seeding import generator
from synthesizers.m2a import decoding
from synthesizers.m2a.decoding import StepLimits
from synthesizers.m2a.network import POSITIONS, AcousticConfig, AcousticModel, PositionalEncoding
from synthesizers.m2a.training.forward import teacher_forced
from synthesizers.positions import sinusoidal_positions
from tests.synthesizers.m2a_checkpoints import ACOUSTIC, acoustic_model


def memories(model: AcousticModel, *lengths: int) -> list[Tensor]:
    rolls = [torch.rand(length, 128, generator=torch.Generator().manual_seed(length)) for length in lengths]
    return [model.memory(roll[None])[0] for roll in rolls]


def run(
    model: AcousticModel, found: list[Tensor], segments: list[int], redraw: decoding.Redraw, seed: int = 0
) -> list[decoding.Decoded]:
    steps = [len(memory) for memory in found]
    masks = drawn_masks(model.config, segments, steps, redraw, seed)
    return decoding.decode(model, found, masks, [StepLimits(one, one) for one in steps], redraw=redraw)


def drawn_masks(
    config: AcousticConfig, segments: list[int], steps: list[int], redraw: decoding.Redraw, seed: int = 0
) -> decoding.Masks:
    return decoding.drawn_masks(config, [generator(seed, index) for index in segments], steps, redraw)


@pytest.mark.parametrize("redraw", ["frame", "step"])
def test_a_segment_does_not_depend_on_its_batch(redraw: decoding.Redraw) -> None:
    model = acoustic_model()
    found = memories(model, 12, 30, 21)
    together = run(model, found, [4, 5, 6], redraw)
    for index, memory in enumerate(found):
        alone = run(model, [memory], [4 + index], redraw)[0]
        torch.testing.assert_close(together[index].frames, alone.frames, rtol=0, atol=1e-4)
        torch.testing.assert_close(together[index].stop, alone.stop, rtol=0, atol=1e-4)
        assert len(alone.frames) == 4 * len(memory)


def test_seeds_and_segments_draw_their_own_masks() -> None:
    model = acoustic_model()
    found = memories(model, 12)
    first, again = (run(model, found, [0], "frame", seed=1)[0].frames for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, run(model, found, [0], "frame", seed=2)[0].frames)
    assert not torch.equal(first, run(model, found, [1], "frame", seed=1)[0].frames)


def whole_masks(config: AcousticConfig, steps: int) -> list[Tensor]:
    drawn = drawn_masks(config, [0], [steps], "frame", seed=3)
    return [torch.cat(rows, dim=1) for rows in zip(*map(drawn, range(1, steps + 1)), strict=True)]


def test_the_cache_changes_nothing() -> None:
    """Masks that a frame keeps: the cached decoder, the one that redraws, and one pass over all agree."""
    model = acoustic_model()
    model.postnet = nn.Identity()  # type: ignore[assignment]
    memory, steps = memories(model, 17), 17
    masks = whole_masks(model.config, steps)
    limits = [StepLimits(steps, steps)]
    cached = decoding.decode(model, memory, lambda i: [mask[:, i - 1 : i] for mask in masks], limits)[0]
    anew = decoding.decode(model, memory, lambda i: [mask[:, :i] for mask in masks], limits, redraw="step")[0]
    torch.testing.assert_close(cached.frames, anew.frames, rtol=0, atol=1e-5)
    before, logits, _ = teacher_forced(model, memory[0][None], cached.frames[None], masks)
    torch.testing.assert_close(before[0], cached.frames, rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.sigmoid(logits[0]), cached.stop, rtol=0, atol=1e-5)


def test_limits_hold_per_segment() -> None:
    model = acoustic_model()
    model.prob_out.bias.data.fill_(-50.0)  # the stop rule never fires
    found = memories(model, 9, 9, 9)
    masks = drawn_masks(model.config, [0, 1, 2], [20] * 3, "frame")
    limits = [StepLimits(5, 5), StepLimits(0, 20), StepLimits(8, 3)]
    decoded = decoding.decode(model, found, masks, limits)
    assert [len(one.frames) for one in decoded] == [20, 80, 32]
    assert decoded[1].first_stop(4) is None
    model.prob_out.bias.data.fill_(50.0)  # fires at once
    decoded = decoding.decode(model, found, masks, limits)
    assert [len(one.frames) for one in decoded] == [20, 4, 32]
    assert decoded[2].first_stop(4) == 1


def test_masks_keep_one_in_a_hundred_and_make_up_for_it() -> None:
    config = AcousticConfig()
    drawn = drawn_masks(config, [0, 1], [300, 200], "frame")
    first, second = zip(*(drawn(step) for step in range(1, 201)), strict=True)
    for layer in (torch.cat(first, dim=1), torch.cat(second, dim=1)):
        assert layer.shape == (2, 200, 256)
        assert layer.unique().tolist() == [0.0, pytest.approx(100.0)]
        assert float(layer.mean()) == pytest.approx(1, rel=0.1)
    assert not torch.equal(torch.cat(first, dim=1), torch.cat(second, dim=1))


def test_positions_beyond_the_table() -> None:
    position = PositionalEncoding(8)
    far = position(torch.zeros(1, 3, 8), POSITIONS + 5)
    torch.testing.assert_close(far[0], sinusoidal_positions(POSITIONS + 8, 8)[-3:])


def test_performers_and_environments_are_added_to_the_memory() -> None:
    model = acoustic_model(replace(ACOUSTIC, performers=3, environments=4))
    roll = torch.rand(1, 5, 128)
    plain = model.memory(roll)
    changed = model.memory(roll, performer=2, environment=1)
    difference = model.sid_emb.weight[2] - model.sid_emb.weight[0]
    difference = difference + model.lid_emb.weight[1] - model.lid_emb.weight[0]
    torch.testing.assert_close(changed - plain, difference.expand(1, 5, -1), rtol=0, atol=1e-5)
