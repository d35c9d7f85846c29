"""Training MIDI-VALLE against recordings of the authors' program: segments, losses, optimizer, updates."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from score_to_audio.training.loop import Moment
from score_to_audio.training.optimization import Optimization
from synthesizers.midi_valle import official
from synthesizers.midi_valle.tokens import NoteArray
from synthesizers.midi_valle.training.losses import draw_prefix, first_loss, first_targets, other_loss
from synthesizers.midi_valle.training.network import Batch, TrainingNetwork
from synthesizers.midi_valle.training.optimizer import ScaledAdam, eden
from synthesizers.midi_valle.training.step import StageDraws, step, trained_names
from tests.parity.golden_files import Recording, load_cases, load_config, salt
from tests.parity.reference.midi_valle import filled_weights
from tests.parity.test_midi_valle import config_of, read_midi

MODEL = "midi_valle"


def recording(name: str) -> Recording:
    (path,) = load_cases(MODEL, f"training/{name}.npz")
    return Recording(path)


def test_every_file_is_compared() -> None:
    found = {path.stem for path in load_cases(MODEL, "training/*.npz")}
    assert found == {"eden", "losses", "loop", "scaled_adam", "segmentation"}


def tensor(values: Any) -> Tensor:
    array = np.asarray(values)
    return torch.from_numpy(array.astype(np.int64) if array.dtype.kind in "iu" else array)


def close(found: Any, wanted: Any, *, absolute: float = 0.0, relative: float = 0.0) -> None:
    found = found.detach().numpy() if isinstance(found, Tensor) else found
    np.testing.assert_allclose(found, wanted, atol=absolute, rtol=relative)


def close_to_maximum(found: Any, wanted: Any, share: float) -> None:
    close(found, wanted, absolute=share * float(np.abs(wanted).max()))


def network() -> TrainingNetwork:
    config = config_of(Path("tiny.npz"))
    filled = TrainingNetwork(config, dropout=0.0)
    filled.load(filled_weights(config, salt(load_config(MODEL))))
    return filled.train()


def batch_of(recorded: Recording) -> Batch:
    return Batch(*(tensor(recorded[name]) for name in ("tokens", "token_lens", "codes", "code_lens")))


# --------------------------------------------------------------------------------------------- losses


def test_losses_and_gradients() -> None:
    recorded = recording("losses")
    model, batch = network(), batch_of(recorded)
    assert {name for name, _ in model.named_parameters()} == set(recorded["param_names"])
    draws = StageDraws(model.config.codebooks)
    assert [draws.draw() for _ in recorded["stage_draws"]] == recorded["stage_draws"].tolist()

    first = first_loss(model, batch)
    close(first.total, recorded["ar_loss"], relative=1e-5)
    close(first.nll, recorded["ar_nll"], absolute=1e-4)
    assert np.array_equal(first_targets(model, batch), recorded["ar_targets"])
    codes = batch.codes[..., 0].masked_fill(batch.audio_padding, model.config.codes)
    last = model.first_logits(batch, codes)[:, -1]
    close(last, recorded["ar_logits_last_frame"], absolute=1e-4)
    for stage in range(1, model.config.codebooks):
        prefix = draw_prefix(batch, torch.Generator().manual_seed(100 + stage))
        others = other_loss(model, batch, stage, prefix)
        close(others.total, recorded[f"nar_loss_j{stage}"], relative=1e-5)
        close(others.nll.sum(), recorded[f"nar_loss_unscaled_j{stage}"], relative=1e-5)
        close(others.nll, recorded[f"nar_nll_j{stage}"], absolute=1e-4)
        for name in (f"joint_j{stage}", f"stage2_j{stage}"):
            check_pass(recorded, name, stage, part="both" if name.startswith("joint") else "others")
    check_pass(recorded, "stage1", 1, part="first")
    recorded.check_complete()


def check_pass(recorded: Recording, name: str, stage: int, *, part: Any) -> None:
    """One pass of ``step`` and the gradients that it leaves."""
    model, batch = network(), batch_of(recorded)
    kept = Optimization(model, torch.optim.SGD(model.parameters(), lr=0.0), accumulation=2)  # no update
    moment = Moment(0, 0, 0.0, torch.Generator().manual_seed(100 + stage))
    figures = step(kept, batch, Fixed(stage), moment, part=part)
    close(figures["loss"] * batch.frames, recorded[f"{name}_loss"], relative=1e-5)
    for ours, theirs in {"accuracy_first": "ArTop10Accuracy", "accuracy_others": "NarTop10Accuracy"}.items():
        if ours in figures:
            close(figures[ours] * batch.frames, recorded[f"{name}_{theirs}"], relative=1e-6)
    if part != "first":
        prefix = draw_prefix(batch, torch.Generator().manual_seed(100 + stage))
        assert prefix == recorded[f"{name}_prefix"]
    gradients = {key: one.grad for key, one in model.named_parameters()}
    if f"{name}_grad_norms" in recorded:
        wanted = dict(zip(recorded["param_names"].tolist(), recorded[f"{name}_grad_norms"], strict=True))
        for key, gradient in gradients.items():
            close(
                0.0 if gradient is None else float(gradient.norm()), wanted[key], relative=1e-4, absolute=1e-9
            )
    for key in recorded.named(f"{name}_grad/"):
        found = gradients[key.removeprefix(f"{name}_grad/")]
        zero = torch.zeros(recorded[key].shape)
        check_gradient(key, zero if found is None else found, recorded[key])
    for key in recorded.named(f"{name}_gradrows/"):
        parameter = key.removeprefix(f"{name}_gradrows/")
        rows = tensor(recorded[f"{name}_gradrows_index/{parameter}"])
        found = gradients[parameter]
        check_gradient(key, torch.zeros(recorded[key].shape) if found is None else found[rows], recorded[key])


class Fixed(StageDraws):
    """Draws one stage."""

    def __init__(self, stage: int) -> None:
        super().__init__(0, random.Random(0))
        self.stage = stage

    def draw(self) -> int:
        return self.stage


def check_gradient(name: str, found: Tensor, wanted: np.ndarray) -> None:
    if name.endswith("in_proj_bias"):  # softmax does not see the key's bias: its gradient is round-off
        third = len(wanted) // 3
        found = torch.cat([found[:third], found[2 * third :]])
        wanted = np.concatenate([wanted[:third], wanted[2 * third :]])
    close_to_maximum(found, wanted, 1e-4)


def test_parameters_of_single_stages() -> None:
    model = network()
    everything = set(trained_names(model, "both"))
    assert {name for name, _ in model.named_parameters()} - everything == {
        "nar_text_position.alpha",
        "nar_audio_position.alpha",
    }
    assert all(name.startswith("ar_") for name in trained_names(model, "first"))
    assert all(name.startswith("nar_") for name in trained_names(model, "others"))


def test_updates() -> None:
    """Twelve batches, two per update, with the published optimizer and learning rates."""
    recorded, batch = recording("loop"), batch_of(recording("losses"))
    model = network()
    names = recorded["param_names"].tolist()
    trained = Optimization(model, ScaledAdam(model.parameters()), accumulation=2)
    draws, generator = StageDraws(model.config.codebooks), torch.Generator().manual_seed(7)
    norms, rates = [], []
    for number, wanted in enumerate(recorded["loss"]):
        before = random.Random()
        before.setstate(draws.random.getstate())
        assert StageDraws(model.config.codebooks, before).draw() == recorded["nar_stage"][number]
        peeked = torch.Generator()
        peeked.set_state(generator.get_state())
        assert draw_prefix(batch, peeked) == recorded["prefix"][number]
        rate = eden(number - trained.pending, 0)
        trained.set_learning_rate(rate)
        moment = Moment(0, number, 0.0, generator)
        figures = step(trained, batch, draws, moment)
        close(figures["loss"] * batch.frames, wanted, relative=1e-4)
        if not trained.pending:
            rates.append(rate)
            state = dict(model.named_parameters())
            norms.append([float(state[name].detach().norm()) for name in names])
    close(rates, recorded["lr_used"], relative=1e-12)
    for found, wanted in zip(norms, recorded["param_norms_after_update"], strict=True):
        for name, one, other in zip(names, found, wanted, strict=True):
            close(one, other, relative=1e-2 if name.endswith("in_proj_bias") else 1e-4)
    for name in recorded.named("final/"):
        close_to_maximum(model.state_dict()[name.removeprefix("final/")], recorded[name], 1e-4)
    recorded.check_complete()


# ------------------------------------------------------------------------------------------- optimizer


def test_scaled_adam() -> None:
    recorded = recording("scaled_adam")
    for prefix in sorted({name.split("/")[0] for name in recorded.arrays}):
        period = int(prefix.rsplit("_", 1)[1]) if prefix[-1].isdigit() else 1000
        check_scaled_adam(recorded, prefix, period)
    recorded.check_complete()


def check_scaled_adam(recorded: Recording, prefix: str, period: int) -> None:
    names = [name.split("/")[2] for name in recorded.named(f"{prefix}/init/")]
    parameters = {name: nn.Parameter(tensor(recorded[f"{prefix}/init/{name}"])) for name in names}
    optimizer = ScaledAdam(parameters.values(), clipping_period=period)
    for number, rate in enumerate(recorded[f"{prefix}/lr"].tolist()):
        optimizer.param_groups[0]["lr"] = rate
        for name, parameter in parameters.items():
            if f"{prefix}/grad/{number}/{name}" in recorded:
                parameter.grad = tensor(recorded[f"{prefix}/grad/{number}/{name}"])
        factors = watched(optimizer)
        optimizer.step()
        close(factors, [recorded[f"{prefix}/clip_factor"][number]], relative=1e-5)
        for name, parameter in parameters.items():
            close_to_maximum(parameter, recorded[f"{prefix}/after/{number}/{name}"], 1e-5)


def watched(optimizer: ScaledAdam) -> list[float]:
    """The clipping factors of the next step."""
    factors: list[float] = []
    original: Callable[[dict[str, Any]], float] = type(optimizer).clip_factor

    def clip_factor(group: dict[str, Any]) -> float:
        factors.append(original(optimizer, group))
        return factors[-1]

    optimizer.clip_factor = clip_factor  # type: ignore[method-assign]
    return factors


def test_eden() -> None:
    recorded = recording("eden")
    assert recorded["lr_before_any_call"] == eden(20, 0) * (1 + (20 / 5000) ** 2) ** 0.25
    for name in recorded.named("lr_warmup_"):
        warm_up = int(name.rsplit("_", 1)[1])
        found = [eden(batch, epoch, warm_up=warm_up) for batch, epoch in recorded["batch_epoch"].tolist()]
        close(found, recorded[name], relative=1e-12)
    recorded.check_complete()


# -------------------------------------------------------------------------------------------- segments


def test_segments(tmp_path: Path) -> None:
    recorded = recording("segmentation")
    (piece,) = load_cases(MODEL, "training/*.mid")
    notes, controls, end = read_midi(piece)
    close(end, recorded["end_time"], absolute=1e-9)
    source = recorded["source_notes"]
    assert note_rows(notes) == note_rows(columns(source[:, 1:]))
    assert len(controls.time) == len(recorded["source_controls"])
    boundaries = official.cut_points(end)
    close(boundaries, recorded["boundaries"], absolute=1e-9)
    close(np.diff([*boundaries, end]), recorded["lengths"], absolute=1e-9)
    rate = 32000
    for index, (start, stop) in enumerate(pairwise(boundaries)):
        segment = official.segment_notes(notes, start, stop)
        assert note_rows(segment) == note_rows(columns(recorded[f"notes_{index}"]))
        lost = (notes.onset >= start) & (notes.onset < stop) & (notes.offset >= stop)
        assert note_rows(notes.where(lost)) == note_rows(columns(recorded[f"lost_{index}"][:, 1:]))
        kept = (controls.time >= start) & (controls.time < stop)
        rows = np.stack([controls.number[kept], controls.value[kept], controls.time[kept] - start], axis=1)
        wanted = recorded[f"controls_{index}"]
        close(rows[np.lexsort(rows.T)], wanted[np.lexsort(wanted.T)], absolute=1e-9)
        written = tmp_path / f"{index}.mid"
        written.write_bytes(recorded[f"written_midi_{index}"].tobytes())
        assert note_rows(official.as_written(segment)) == note_rows(read_midi(written)[0])
        samples = official.sample_range(start, stop, rate)
        assert [samples.start, samples.stop] == recorded["audio_sample_range"][index].tolist()
        assert any(name.endswith(f"_{index}.wav") for name in recorded["names"].tolist())
    recorded.check_complete()


def columns(rows: np.ndarray) -> NoteArray:
    """Start, end, pitch, velocity."""
    return NoteArray(rows[:, 0], rows[:, 1], rows[:, 2].astype(np.int64), rows[:, 3].astype(np.int64))


def note_rows(notes: NoteArray) -> list[tuple[float, ...]]:
    rows = np.stack([notes.onset, notes.offset, notes.pitch, notes.velocity], axis=1).round(6)
    return sorted(map(tuple, rows.tolist()))
