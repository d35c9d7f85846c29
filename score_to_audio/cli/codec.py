"""Neural audio codecs: EnCodec and Piano-Encodec."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from score_to_audio.cli.options import Device

if TYPE_CHECKING:
    from score_to_audio.types import Waveform

app = typer.Typer(help=__doc__, no_args_is_help=True)


CodecName = Annotated[
    str, typer.Option("--codec", help="piano-encodec, encodec-32khz, or a checkpoint file.")
]


@app.command("encode")
def encode(
    audio: Annotated[Path, typer.Argument(help="Audio file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Codes, an .npy file.")],
    codec: CodecName = "piano-encodec",
    device: Device = "auto",
) -> None:
    """Encode a sound as codes."""
    from adapters import codec as codecs
    from score_to_audio.formats.audio import read_audio
    from score_to_audio.outputs import delivering

    with delivering(output, [audio]):
        codecs.write_codes(codecs.encode(_codec(codec, device), read_audio(audio)), output)


@app.command("decode")
def decode(
    codes: Annotated[Path, typer.Argument(help="Codes written by `codec encode`.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Audio file; its suffix sets the format.")],
    codec: CodecName = "piano-encodec",
    device: Device = "auto",
) -> None:
    """Decode codes to sound."""
    from adapters import codec as codecs
    from score_to_audio.outputs import delivering

    with delivering(output, [codes]):
        loaded = _codec(codec, device)
        _write_sound(codecs.decode(loaded, codecs.read_codes(codes, loaded)), output)


@app.command("reconstruct")
def reconstruct(
    audio: Annotated[Path, typer.Argument(help="Audio file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Audio file; its suffix sets the format.")],
    codec: CodecName = "piano-encodec",
    device: Device = "auto",
) -> None:
    """Encode and decode a sound: shows what the codec keeps of it."""
    from adapters import codec as codecs
    from score_to_audio.formats.audio import read_audio
    from score_to_audio.outputs import delivering

    with delivering(output, [audio]):
        _write_sound(codecs.reconstruct(_codec(codec, device), read_audio(audio)), output)


def _codec(name: str, device: str) -> Any:
    from adapters.codec import load_codec
    from score_to_audio import checkpoints, registry

    return load_codec(checkpoints.find(name), device=registry.resolve_device(device))


def _write_sound(sound: Waveform, output: Path) -> None:
    from score_to_audio.formats.audio import stream_of, write_audio
    from score_to_audio.settings import audio_format
    from synthesizers.limiter import limit_peaks

    write_audio(limit_peaks(stream_of(sound)), output, format=audio_format(output.suffix.removeprefix(".")))
