"""The command line: thin, and quick to start; everything heavy is imported by the command that needs it."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from score_to_audio import defaults

if TYPE_CHECKING:
    from score_to_audio.jobs import Outcome
    from score_to_audio.plugins import Spec
    from score_to_audio.registry import Kind
    from score_to_audio.stages import Made
    from score_to_audio.types import Waveform

EXIT_FAILED = 1
"""Some items failed."""
EXIT_BAD_INPUT = 2
"""Nothing could be done with what was given."""

app = typer.Typer(
    name="score-to-audio",
    help="MusicXML scores in, expressive piano performances out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
models = typer.Typer(help="Renderers, synthesizers and their checkpoints.", no_args_is_help=True)
store_app = typer.Typer(help="The store that keeps every artifact.", no_args_is_help=True)
prompts_app = typer.Typer(help="Reference recordings for synthesizers that take one.", no_args_is_help=True)
codec_app = typer.Typer(help="Neural audio codecs: EnCodec and Piano-Encodec.", no_args_is_help=True)
app.add_typer(models, name="models")
app.add_typer(store_app, name="store")
app.add_typer(prompts_app, name="prompts")
app.add_typer(codec_app, name="codec")

Renderer = Annotated[str, typer.Option("--renderer", "-r", help="Stage 1; see `models list`.")]
Synthesizer = Annotated[str, typer.Option("--synthesizer", "-s", help="Stage 2; see `models list`.")]
Options = Annotated[
    list[str] | None,
    typer.Option("--set", help="renderer.KEY=VALUE, synthesizer.KEY=VALUE or score.KEY=VALUE; repeatable."),
]
Seed = Annotated[int, typer.Option(help="For models that draw; the same seed gives the same bytes.", min=0)]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
PromptName = Annotated[
    str | None,
    typer.Option("--prompt", help="A prompt of the library, or an audio file with its .mid beside."),
]
Formats = Annotated[
    list[str] | None, typer.Option("--format", "-f", help="wav (default), flac, mp3, ogg; repeatable.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per result, for machines.")]


def main() -> None:
    """Entry point: every foreseen failure is one line on stderr and an exit code, never a traceback."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    from score_to_audio.environment import shadowed_packages

    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    for problem in shadowed_packages():
        print(f"warning: {problem}", file=sys.stderr)
    try:
        app(arguments)
    except KeyboardInterrupt:
        print("interrupted; finished work is kept, run the same command again to go on", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if debug:
            raise
        print(f"error: {_sentence(error)}", file=sys.stderr)
        sys.exit(_exit_code(error))


def _sentence(error: Exception) -> str:
    if _is_foreseen(error):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'system'}: {error.strerror}"
    return f"{type(error).__name__}: {error} (this is a defect; --debug shows where it happened)"


def _exit_code(error: Exception) -> int:
    from score_to_audio.types import InputError

    return EXIT_BAD_INPUT if isinstance(error, InputError) else EXIT_FAILED


def _is_foreseen(error: Exception) -> bool:
    from score_to_audio.stages import StageError
    from score_to_audio.store import StoreError
    from score_to_audio.types import InputError

    return isinstance(error, InputError | StageError | StoreError)


def _split_options(settings: Iterable[str] | None) -> dict[str, dict[str, str]]:
    """["renderer.tempo=80"] -> {"renderer": {"tempo": "80"}, "synthesizer": {}, "score": {}}."""
    from score_to_audio.types import InputError

    options: dict[str, dict[str, str]] = {"renderer": {}, "synthesizer": {}, "score": {}}
    for setting in settings or ():
        name, equals, value = setting.partition("=")
        stage, dot, key = name.partition(".")
        if not (equals and dot and key and stage in options):
            raise InputError(
                f"--set {setting!r}: write renderer.KEY=VALUE, synthesizer.KEY=VALUE or score.KEY=VALUE"
            )
        options[stage][key] = value
    return options


# ----------------------------------------------------------------------------------------- the stages


@app.command()
def run(
    scores: Annotated[list[str], typer.Argument(help="Score files, folders or glob patterns.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")],
    renderer: Renderer = defaults.RENDERER,
    synthesizer: Synthesizer = defaults.SYNTHESIZER,
    options: Options = None,
    prompt: PromptName = None,
    seed: Seed = 0,
    formats: Formats = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Scores to performance MIDI and audio: both stages."""
    from score_to_audio import jobs
    from score_to_audio.stages import prepare_pipeline
    from score_to_audio.store import default_store

    chosen = _split_options(options)
    pipeline = prepare_pipeline(
        renderer=renderer,
        synthesizer=synthesizer,
        renderer_options=chosen["renderer"],
        synthesizer_options=chosen["synthesizer"],
        score_options=chosen["score"],
        prompt=prompt,
        seed=seed,
        formats=formats or ("wav",),
        device=device,
    )
    plan = jobs.plan(scores)
    store = default_store()
    failures: list[Exception] = []
    with (
        _Display(total=len(plan), quiet=as_json) as display,
        jobs.Recorder(pipeline, store, output) as record,
    ):
        for job in plan:
            try:
                with display.item(str(job.score)):
                    outcome = jobs.run(job, pipeline, store, output)
            except Exception as error:
                if not _is_foreseen(error):
                    raise
                failures.append(error)
                outcome = jobs.Outcome(job, error=str(error))
            if outcome.error is None or len(plan) > 1:
                record.add(outcome)
            if as_json:
                print(json.dumps(_outcome_json(outcome)))
            else:
                display.line(_outcome_line(outcome))
    if failures and len(failures) == len(plan):
        raise typer.Exit(max(_exit_code(error) for error in failures))
    if failures:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def batch(
    scores: Annotated[list[str], typer.Argument(help="Score files, folders or glob patterns.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")],
    renderer: Renderer = defaults.RENDERER,
    synthesizer: Synthesizer = defaults.SYNTHESIZER,
    options: Options = None,
    prompt: PromptName = None,
    seed: Seed = 0,
    formats: Formats = None,
    device: Device = "auto",
) -> None:
    """The same as `run` for long lists of scores, as a Prefect flow (its server starts first, some 10 s)."""
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from flows.batch import batch as flow
    from score_to_audio.types import InputError

    chosen = _split_options(options)
    state = flow(
        [Path(score) for score in scores],
        output=output.absolute(),
        renderer=renderer,
        synthesizer=synthesizer,
        renderer_options=chosen["renderer"],
        synthesizer_options=chosen["synthesizer"],
        score_options=chosen["score"],
        prompt=prompt,
        seed=seed,
        format=formats or ["wav"],
        device=device,
        return_state=True,
    )
    if state.is_completed():
        print(state.message)
        return
    reason = state.result(raise_on_failure=False)
    print(f"error: {state.message}", file=sys.stderr)
    raise typer.Exit(EXIT_BAD_INPUT if isinstance(reason, InputError) else EXIT_FAILED)


def _outcome_line(outcome: Outcome) -> str:
    if outcome.error:
        return f"error: {outcome.error}"
    assert outcome.performance
    assert outcome.audio
    took = (
        "from the store" if outcome.cached else f"{outcome.performance.seconds + outcome.audio.seconds:.1f} s"
    )
    return f"{'  '.join(str(file) for file in outcome.files)}  ({took})"


def _outcome_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "score": str(outcome.job.score),
        "name": outcome.job.name,
        "files": [str(file) for file in outcome.files],
        "cached": outcome.cached,
        "error": outcome.error,
    }


@app.command()
def render(
    score: Annotated[Path, typer.Argument(help="Score file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="MIDI file to write.")],
    renderer: Renderer = defaults.RENDERER,
    options: Options = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Score to performance MIDI: stage 1."""
    from score_to_audio import stages
    from score_to_audio.registry import prepare
    from score_to_audio.store import default_store

    chosen = _split_options(options)
    prepared = prepare("renderer", renderer, chosen["renderer"], seed=seed, device=device)
    store = default_store()
    with _Display(total=1, quiet=as_json) as display, display.item(str(score)):
        made = stages.render(score, prepared, store, score_options=stages.read_score_options(chosen["score"]))
    stages.deliver(made.artifact, output, store)
    _say_made(made, output, as_json)


@app.command()
def synthesize(
    performance: Annotated[Path, typer.Argument(help="Performance MIDI file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Audio file to write; its suffix decides.")],
    synthesizer: Synthesizer = defaults.SYNTHESIZER,
    options: Options = None,
    prompt: PromptName = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Performance MIDI to audio: stage 2."""
    from score_to_audio import stages
    from score_to_audio.registry import prepare
    from score_to_audio.store import default_store

    audio_format = stages.audio_format(output.suffix.removeprefix("."))
    chosen = _split_options(options)
    prepared = prepare("synthesizer", synthesizer, chosen["synthesizer"], seed=seed, device=device)
    store = default_store()
    with _Display(total=1, quiet=as_json) as display, display.item(str(performance)):
        made = stages.synthesize(
            performance, prepared, store, prompt=stages.read_prompt(prompt) if prompt else None
        )
    stages.deliver(stages.encode(made.artifact, audio_format, store).artifact, output, store)
    _say_made(made, output, as_json)


def _say_made(made: Made, output: Path, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"file": str(output), "cached": made.cached, "artifact": asdict(made.artifact)}))
    else:
        print(f"{output}  ({'from the store' if made.cached else f'{made.seconds:.1f} s'})")


@app.command()
def plot(
    source: Annotated[Path, typer.Argument(help="A score, which is rendered, or a performance MIDI file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="SVG file to write.")],
    score: Annotated[
        Path | None, typer.Option(help="The score of a performance that `render` made: adds the tempo.")
    ] = None,
    renderer: Renderer = defaults.RENDERER,
    options: Options = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Draw a performance: piano roll, pedal, dynamics, tempo."""
    from adapters.midi import read_performance
    from adapters.musicxml import read_score
    from score_to_audio import stages
    from score_to_audio.listening.piano_roll import piano_roll
    from score_to_audio.registry import prepare
    from score_to_audio.store import default_store

    chosen = _split_options(options)
    score_options = stages.read_score_options(chosen["score"])
    midi = source
    if source.suffix.lower() != ".mid":
        prepared = prepare("renderer", renderer, chosen["renderer"], seed=seed, device=device)
        store = default_store()
        made = stages.render(source, prepared, store, score_options=score_options)
        midi, score = store.path(made.artifact), source
    parsed = read_score(score, score_options).parsed if score else None
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(piano_roll(read_performance(midi), parsed, title=source.stem), encoding="utf-8")
    print(output)


# ------------------------------------------------------------------------------------------- models


@models.command("list")
def models_list(as_json: Json = False) -> None:
    """Every renderer and synthesizer that is installed, and whether its checkpoints are here."""
    from score_to_audio import checkpoints

    kinds: tuple[Kind, ...] = ("renderer", "synthesizer")
    for kind in kinds:
        rows = _described_plugins(kind)
        if as_json:
            for row in rows:
                print(json.dumps(row))
            continue
        print(f"{kind}s")
        for row in rows:
            print(f"  {row['name']:<15} {row.get('error') or row['summary']}")
            for checkpoint in row.get("missing_checkpoints", ()):
                print(f"  {'':<15} needs {checkpoints.way_to_get(checkpoint)}")


def _described_plugins(kind: Kind) -> list[dict[str, Any]]:
    from score_to_audio import registry
    from score_to_audio.types import InputError

    rows = []
    for name in registry.entries(kind):
        try:
            rows.append({"kind": kind, "name": name} | _described(registry.spec(kind, name)))
        except InputError as error:
            rows.append({"kind": kind, "name": name, "error": str(error)})
    return rows


def _described(found: Spec) -> dict[str, Any]:
    from score_to_audio import checkpoints
    from score_to_audio.plugins import checkpoint_roles

    fields = (found.parameters.model_fields[role] for role in checkpoint_roles(found.parameters))
    needed = [field.get_default(call_default_factory=True) for field in fields]
    return {
        "version": found.version,
        "summary": found.summary,
        "paper": found.paper,
        "code_licence": found.code_licence,
        "weights_licence": found.weights_licence,
        "limits": found.limits,
        "missing_checkpoints": [name for name in needed if not checkpoints.is_here(name)],
        "options": found.parameters.model_json_schema()["properties"],
    }


@models.command("show")
def models_show(name: Annotated[str, typer.Argument(help="Name of a renderer or synthesizer.")]) -> None:
    """The options, paper, licences and limits of a plug-in."""
    from score_to_audio.registry import entries, spec
    from score_to_audio.types import InputError

    kinds: tuple[Kind, ...] = ("renderer", "synthesizer")
    found = next((spec(kind, name) for kind in kinds if name in entries(kind)), None)
    if found is None:
        raise InputError(f"no renderer or synthesizer is called {name!r}; see `score-to-audio models list`")
    print(f"{found.name} {found.version}: {found.summary}")
    facts = {
        "paper": found.paper,
        "code": found.code_licence,
        "weights": found.weights_licence,
        "limits": found.limits,
    }
    for label, fact in facts.items():
        if fact:
            print(f"  {label}: {fact}")
    for option, field in found.parameters.model_fields.items():
        print(f"  {option} = {field.default!r}: {field.description or ''}")


@models.command("pull")
def models_pull(name: Annotated[str, typer.Argument(help="Name of a checkpoint.")]) -> None:
    """Download a checkpoint from its publisher."""
    from score_to_audio import checkpoints

    found = checkpoints.pull(name, progressbar=sys.stderr.isatty())
    print(f"{name}: {', '.join(str(path) for path in found.files.values())}")
    print(f"licence: {checkpoints.published(name).licence}")


@models.command("import")
def models_import(
    name: Annotated[str, typer.Argument(help="Name of a checkpoint.")],
    files: Annotated[list[Path], typer.Argument(help="Its files, or the zip archive as published.")],
) -> None:
    """Take over a checkpoint that is already on this machine."""
    from score_to_audio import checkpoints

    found = checkpoints.import_files(name, files)
    print(f"{name}: {', '.join(str(path) for path in found.files.values())}  sha256 {found.sha256[:12]}")


@models.command("check")
def models_check(name: Annotated[str, typer.Argument(help="Name of a checkpoint.")]) -> None:
    """Verify that a checkpoint is whole and readable without running anything in it."""
    from score_to_audio import checkpoints
    from score_to_audio.weights import count_tensors, load_checkpoint

    found = checkpoints.find(name)
    content = load_checkpoint(found.weights, foreign=checkpoints.published(name).foreign)
    tensors, values = count_tensors(content)
    print(f"{name}: {tensors} tensors, {values / 1e6:.1f} million values, sha256 {found.sha256}")


# -------------------------------------------------------------------------------------------- store


@store_app.command("info")
def store_info(as_json: Json = False) -> None:
    """Where the store is and what it holds."""
    from score_to_audio.store import default_store

    store = default_store()
    info = store.info()
    if as_json:
        print(json.dumps({"root": str(store.root), **asdict(info)}, default=str))
        return
    print(f"{store.root}: {info.count} artifacts, {info.bytes / 1e6:.1f} MB")
    for name, (count, size) in sorted(info.by_model.items()):
        print(f"  {name:<28} {count:>6}  {size / 1e6:>9.1f} MB")


@store_app.command("prune")
def store_prune(
    older_than: Annotated[float | None, typer.Option(help="Days since an artifact was last used.")] = None,
    max_size: Annotated[str | None, typer.Option(help="What may remain, for instance 20GB.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Empty the store.")] = False,
) -> None:
    """Delete artifacts, least recently used first; what is deleted is made again when it is needed."""
    from score_to_audio.store import default_store
    from score_to_audio.types import InputError

    if older_than is None and max_size is None and not everything:
        raise InputError("say what to delete: --older-than DAYS, --max-size SIZE or --all")
    report = default_store().prune(
        older_than=timedelta(days=older_than) if older_than is not None else None,
        max_size=0 if everything else _bytes(max_size) if max_size else None,
    )
    print(f"deleted {report.count} artifacts, {report.bytes / 1e6:.1f} MB")


def _bytes(size: str) -> int:
    from score_to_audio.types import InputError

    number = size.rstrip("KMGTBkmgtb ")
    unit = size[len(number) :].strip().upper().removesuffix("B")
    try:
        return int(float(number) * 1000 ** ("", "K", "M", "G", "T").index(unit))
    except ValueError as error:
        raise InputError(f"{size!r} is no size: write 500MB or 20GB") from error


# ------------------------------------------------------------------------------------------ prompts


@prompts_app.command("add")
def prompts_add(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    audio: Annotated[Path, typer.Argument(help="The recording.")],
    midi: Annotated[Path, typer.Argument(help="The performance heard in it.")],
) -> None:
    """Add a recording and its performance to the library."""
    from score_to_audio import prompts

    prompt = prompts.add(name, audio, midi)
    print(f"{name}: {prompt.audio.duration:.2f} s")


@prompts_app.command("list")
def prompts_list() -> None:
    """The prompts of the library."""
    from score_to_audio import prompts

    for name in prompts.names():
        print(name)


# -------------------------------------------------------------------------------------------- codec

CodecName = Annotated[
    str, typer.Option("--codec", help="piano-encodec, encodec-32khz, or a checkpoint file.")
]


@codec_app.command("encode")
def codec_encode(
    audio: Annotated[Path, typer.Argument(help="Audio file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Codes, an .npy file.")],
    codec: CodecName = "piano-encodec",
    device: Device = "auto",
) -> None:
    """Sound to codes."""
    from adapters import codec as codecs
    from adapters.audio import read_audio

    codes = codecs.encode(_codec(codec, device), read_audio(audio))
    codecs.write_codes(codes, output)
    print(output)


@codec_app.command("decode")
def codec_decode(
    codes: Annotated[Path, typer.Argument(help="Codes that `codec encode` wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Audio file; its suffix decides.")],
    codec: CodecName = "piano-encodec",
    device: Device = "auto",
) -> None:
    """Codes to sound."""
    from adapters import codec as codecs

    loaded = _codec(codec, device)
    _write_sound(codecs.decode(loaded, codecs.read_codes(codes, loaded)), output)


@codec_app.command("reconstruct")
def codec_reconstruct(
    audio: Annotated[Path, typer.Argument(help="Audio file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Audio file; its suffix decides.")],
    codec: CodecName = "piano-encodec",
    device: Device = "auto",
) -> None:
    """Sound through the codec and back: what it can keep of a recording."""
    from adapters import codec as codecs
    from adapters.audio import read_audio

    _write_sound(codecs.reconstruct(_codec(codec, device), read_audio(audio)), output)


def _codec(name: str, device: str) -> Any:
    from adapters.codec import load_codec
    from score_to_audio import checkpoints, registry

    return load_codec(checkpoints.find(name), device=registry.device_called(device))


def _write_sound(sound: Waveform, output: Path) -> None:
    """A codec's sound may exceed full scale: its peaks are limited, as those of every synthesizer."""
    from adapters.audio import stream_of, write_audio
    from score_to_audio.stages import audio_format
    from synthesizers.limiter import limited

    stream = stream_of(sound)
    guarded = replace(stream, blocks=limited(stream.blocks, stream.sample_rate))
    write_audio(guarded, output, format=audio_format(output.suffix.removeprefix(".")))
    print(output)


# ------------------------------------------------------------------------------------------- doctor


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check that this installation can work."""
    from score_to_audio.environment import checks

    found = checks()
    for check in found:
        if as_json:
            print(json.dumps(asdict(check)))
        else:
            print(f"{'ok ' if check.ok else 'BAD'}  {check.name:<15} {check.message}")
    if not all(check.ok for check in found):
        raise typer.Exit(EXIT_FAILED)


# ------------------------------------------------------------------------------------------ display


class _Display:
    """Progress bars on a terminal, nothing but the results' lines otherwise."""

    def __init__(self, *, total: int, quiet: bool) -> None:
        self.live: Any = None
        if sys.stderr.isatty() and not quiet:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self.live = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[unit]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self.all = self.live.add_task("all", total=total, unit="scores", visible=total > 1)
            self.one = self.live.add_task("", total=1, unit="", visible=False)

    def __enter__(self) -> _Display:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def item(self, name: str) -> Any:
        """A block during which reports of progress belong to ``name``."""
        from contextlib import contextmanager

        from score_to_audio import progress

        @contextmanager
        def block() -> Any:
            with progress.listening(self._listener(name)):
                yield
            if self.live:
                self.live.advance(self.all)

        return block()

    def _listener(self, name: str) -> Callable[[float, float, str], None]:
        def listen(done: float, total: float, unit: str) -> None:
            if self.live:
                self.live.update(
                    self.one, description=name, completed=done, total=total, unit=unit, visible=True
                )

        if self.live:
            self.live.reset(self.one, description=name, visible=False, total=1, unit="")
        return listen

    def line(self, text: str) -> None:
        if self.live:
            self.live.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr if text.startswith("error:") else sys.stdout, flush=True)


if __name__ == "__main__":
    main()
