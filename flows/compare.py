"""The flow ``compare``: combinations side by side, measured, on a listening page."""

# Annotations are objects here for the same reason as in pipeline.py.

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, Literal, TypeVar, cast

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, as_completed
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from prefect.utilities.annotations import quote
from pydantic import Field

from flows.pipeline import RUNNER
from flows.report import shown_file
from flows.server import ignore_server_outage
from flows.tasks import TASK_OPTIONS, FlowState, failed_state, final_state, reason
from score_to_audio import logs, progress
from score_to_audio.comparison.config import ComparisonConfig
from score_to_audio.comparison.config_file import read_plan, with_paths
from score_to_audio.comparison.outputs import check_output, write_outputs
from score_to_audio.comparison.plan import make_plan
from score_to_audio.comparison.run import run_comparison
from score_to_audio.comparison.studio.address import address_of
from score_to_audio.comparison.work import Failure
from score_to_audio.errors import EXPECTED_ERRORS, InputError, OutputError
from score_to_audio.settings import Device
from score_to_audio.store import default_store

_computing = Lock()
"""Held by the piece of work that runs: models and measures use all cores by themselves."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_name() -> str:
    """The title, or the name of the file."""
    comparison = flow_run.parameters["comparison"]
    if isinstance(comparison, str | Path):
        return Path(comparison).stem
    return ComparisonConfig.model_validate(comparison).title


@flow(name="compare", flow_run_name=run_name, task_runner=RUNNER)
def compare(
    comparison: Path | ComparisonConfig,
    output: Path = Path("comparison"),
    blind: Literal["pairs", "mushra"] | None = None,
    blind_seed: Annotated[int, Field(ge=0)] = 0,
    blind_listen: Annotated[float, Field(ge=0)] = 0.0,
    webmushra: bool = False,
    device: Device = "auto",
) -> FlowState:
    """Make every combination, measure it, and put it on a page to listen to.

    A cell that fails carries its reason and does not stop the others; the run then ends as failed, and the
    page is there all the same. What is in the store already is not made again.

    Args:
        comparison: A comparison's YAML file, or what it would say.
        output: Folder for the page (page/index.html), cells.csv, summary.csv and results.json.
        blind: Hide the names on the page and collect votes: pairs or mushra.
        blind_seed: Of the order in a blind test.
        blind_listen: Seconds of each sound to be heard before a vote.
        webmushra: Also write a configuration and stimuli for webMUSHRA.
        device: auto, cpu or cuda.
    """
    try:
        logs.configure_flow_logging()
        if isinstance(comparison, Path):
            plan = read_plan(comparison, device=device)
        else:
            plan = make_plan(with_paths(comparison, Path.cwd()), device=device)
        store = default_store()
        check_output(output, plan, store)
    except InputError as error:
        return Failed(message=str(error), data=error)
    result = run_comparison(plan, store, each=_as_tasks, device=device)
    try:
        outputs = write_outputs(
            result,
            output,
            store,
            blind=blind,
            seed=blind_seed,
            listen=blind_listen,
            webmushra=webmushra,
        )
    except (InputError, OutputError) as error:
        return Failed(message=str(error), data=error)
    with ignore_server_outage():
        create_markdown_artifact(
            key="listening-page",
            markdown=shown_file(outputs.page, output, plan.title, address_of(output)),
            description=f"The listening page of {plan.title}",
        )
        create_markdown_artifact(
            key="measures", markdown=f"```\n{outputs.text}\n```", description=f"The measures of {plan.title}"
        )
    if result.failures:
        return Failed(message=outputs.summary)
    return Completed(message=outputs.summary)


def _as_tasks(
    work: Callable[[Item], Result], items: Sequence[Item], name: Callable[[Item], str]
) -> list[Result | Failure]:
    """``Each``: one task per item."""
    logger = get_run_logger()
    whole = cast(Any, quote(work))  # Prefect need not search it for futures, and unwraps it
    labels = [name(item) for item in items]
    futures: list[PrefectFuture[Any]] = [
        piece_of_work.submit(label, whole, cast(Any, quote(item)))
        for label, item in zip(labels, items, strict=True)
    ]
    names = dict(zip(futures, labels, strict=True))
    for done, future in enumerate(as_completed(futures), start=1):
        found = _result(future)
        if isinstance(found, Failure):
            logger.error("%s: %s", names[future], found.reason)
        progress.report(done, len(futures), "pieces of work")
    return [_result(future) for future in futures]


def _result(future: PrefectFuture[Any]) -> Any:
    state = final_state(future)
    return state.result() if state.is_completed() else Failure(reason(state))


@task(task_run_name="{name}", persist_result=False, **TASK_OPTIONS)
def piece_of_work(
    name: str,  # noqa: ARG001 (in the name of the task run)
    work: Callable[[Any], Any],
    item: Any,
) -> State[Any]:
    """One cell made, or one measured."""
    try:
        with _computing:
            return Completed(data=work(item))
    except EXPECTED_ERRORS as error:
        return failed_state(error)
