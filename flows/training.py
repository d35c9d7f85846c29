"""The flows ``prepare`` and ``train``: data for a training, one task per part, and the training itself."""

# Annotations are objects here for the same reason as in pipeline.py.

import csv
from pathlib import Path
from typing import Any, Literal

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.futures import as_completed
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import BaseModel

from flows.report import MAX_ROWS
from flows.runners import task_runners
from flows.server import ignore_server_outage
from flows.tasks import TASK_OPTIONS, FlowState, ProgressArtifact, failed_state, final_state, reason
from score_to_audio import logs, progress
from score_to_audio.errors import EXPECTED_ERRORS, InputError
from score_to_audio.machine import keep_freed_memory
from score_to_audio.registry import resolve_device
from score_to_audio.settings import Device
from score_to_audio.store import default_store, open_store
from score_to_audio.training.trainers import TRAINERS, Trainer

TrainerName = Literal["virtuosonet", "m2m", "dexter", "pianist-mean", "piano-encodec", "midi-valle", "m2a"]
"""``TRAINERS``, as a choice in Prefect's forms."""


def run_name() -> str:
    """ "midi-valle on recordings"."""
    return f"{flow_run.parameters['trainer']} on {Path(flow_run.parameters['data']).name}"


@flow(name="prepare", flow_run_name=run_name)
def prepare(
    trainer: TrainerName,
    data: Path,
    config: Path | None = None,
    device: Device = "auto",
    runner: Literal["thread", "ray", "dask"] = "thread",
    processes: int = 0,
) -> FlowState:
    """Prepare the data of a training in the store: aligned examples, segments, codes.

    A part (a piece of a corpus, or a recording) that fails does not stop the others. What the store already
    has is not made again, so a run continues an interrupted one.

    Args:
        trainer: The model that will be trained.
        data: The (n)ASAP corpus, or a folder of recordings.
        config: Configuration file of the training.
        device: auto, cpu or cuda.
        runner: Where the tasks run: threads of this process, or a Ray or Dask cluster.
        processes: Of the runner; 0 for its default.
    """
    try:
        logs.configure_flow_logging()
        chosen = TRAINERS[trainer]
        return _prepared(
            chosen, data.expanduser(), chosen.config(config), resolve_device(device), runner, processes
        )
    except InputError as error:
        return failed_state(error)


def _prepared(
    trainer: Trainer, data: Path, config: BaseModel, device: str, runner: str, processes: int
) -> FlowState:
    logger = get_run_logger()
    parts, left_out = trainer.parts(data)
    for sentence in left_out:
        logger.warning(sentence)
    store, settings = default_store().location, config.model_dump_json()
    failures = []
    with task_runners(runner, processes) as new_runner, new_runner() as tasks:
        submitted = [
            tasks.submit(
                prepare_part,
                {"name": name, "part": part, "trainer": trainer.name}
                | {"config": settings, "store": store, "device": device},
            )
            for name, part in parts.items()
        ]
        for done, future in enumerate(as_completed(submitted), start=1):
            state = final_state(future)
            if not state.is_completed():
                failures.append(reason(state))
                logger.error(failures[-1])
            progress.report(done, len(submitted), "parts")
    summary = f"{len(parts)} parts: {len(parts) - len(failures)} prepared, {len(failures)} failed"
    return Failed(message=f"{summary} ({failures[0]})") if failures else Completed(message=summary)


@task(task_run_name="prepare {name}", **TASK_OPTIONS)
def prepare_part(name: str, part: Any, trainer: str, config: str, store: str, device: str) -> FlowState:
    """One piece or recording. ``config``: the configuration as JSON."""
    keep_freed_memory()
    try:
        module = TRAINERS[trainer].module
        settings = module.CONFIG.model_validate_json(config)
        problems = module.prepare_part(part, settings, open_store(store), device)
    except EXPECTED_ERRORS as error:
        return failed_state(error)
    for problem in problems:
        get_run_logger().warning("left out: %s", problem)
    return Completed(message=f"{name} is in the store")


@flow(name="train", flow_run_name=run_name)
def train(
    trainer: TrainerName,
    data: Path,
    config: Path | None = None,
    output: Path = Path("training"),
    device: Device = "auto",
) -> FlowState:
    """Train a model, or continue the training in the folder ``output``.

    Args:
        trainer: The model.
        data: The (n)ASAP corpus, or a folder of recordings.
        config: Configuration file.
        output: Folder for the checkpoints and the curve; continues an interrupted training.
        device: auto, cpu or cuda.
    """
    logger = get_run_logger()
    keep_freed_memory()
    try:
        logs.configure_flow_logging()
        chosen = TRAINERS[trainer]
        settings = chosen.config(config)
        lines = chosen.module.train(
            data.expanduser(), settings, output, default_store(), resolve_device(device)
        )
        with progress.listening(ProgressArtifact(f"train {trainer}")):
            for line in lines:
                logger.info(line)
    except EXPECTED_ERRORS as error:
        return failed_state(error)
    show_curve(output, trainer)
    return Completed(message=f"the checkpoints are in {output.absolute()}")


def show_curve(output: Path, trainer: str) -> None:
    """The last epochs of ``curve.csv`` as a table artifact, if the trainer writes one."""
    from score_to_audio.training.folder import CURVE  # imports PyTorch, as the training did

    file = output / CURVE
    if not file.is_file():
        return
    with file.open(newline="", encoding="utf-8") as lines:
        epochs = list(csv.DictReader(lines))
    with ignore_server_outage():
        create_table_artifact(
            key="curve",
            table=epochs[-MAX_ROWS:],
            description=f"train {trainer}: losses and validation of each epoch, from {file.absolute()}",
        )
