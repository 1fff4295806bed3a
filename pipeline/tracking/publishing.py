"""Whether a run holds what the outputs do, and how it comes to: `missing` asks, `publish` sends what is missing and asks again.

Both compare part by part, each part after those that it needs. What is there is never sent again, so a second call changes
nothing, and one that follows a killed process, an outage or a full disk completes what that left.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256 as digest_of
from pathlib import Path
from typing import Any

from pipeline.dataset import SPLITS
from pipeline.errors import UnreachableError
from pipeline.params import TrackingParams
from pipeline.tracking.budget import within
from pipeline.tracking.content import EVALUATION, HISTORY, MAX_TAG, NOTE, PUBLISHED, Content, Point, cut, input_name
from pipeline.tracking.models import finished, log_model, unfinished
from pipeline.tracking.runs import find_or_create, send, update_project_run, warn
from pipeline.tracking.store import connect, lost_errors, tracking_uri
from pipeline.tracking.stored import IMAGES, Stored
from pipeline.workspace import Workspace, sha256

_NAMED = 3  # missing files, by name
_KEPT = ("provenance/", "data/")  # what was true when it was trained: sent once, whatever becomes of the file later
_OF_PROMOTIONS = "promotion/"  # promote stored them, and says no digests: comparisons are never made twice
_INFINITE = 1.79e308  # what MLflow stores for infinity is larger


@dataclass(frozen=True)
class _Lack:
    """What a run lacks of one part of its content, and what sends it."""

    what: Sequence[str]
    send: Callable[[], object]


def publish_outputs(workspace: Workspace, limits: TrackingParams) -> None:
    """Publish the outputs of a checkout; print one warning where the store does not answer.

    Raises:
        TrackingError: the store cannot be used, or the experiment was deleted.
    """
    try:
        published_run(workspace, limits)
    except UnreachableError as error:
        warn(f"{error}. The files are written; `dvc repro -s -f register` publishes them once the store answers")


def published_run(workspace: Workspace, limits: TrackingParams | None = None) -> tuple[Any, str]:
    """Return a client and the id of the run of the training in models/, after the outputs were published.

    Without `limits`, it waits as long as the store answers.

    Raises:
        MissingInputError: there is no training yet.
        TrackingError: the store cannot be used, does not answer, or takes too long.
    """

    def step() -> tuple[Any, str]:
        client = connect(workspace, create=True)
        return client, publish(client, workspace, Content.of_outputs(workspace))

    lost_errors()  # the import of MLflow is no wait for the store
    found: tuple[Any, str] = within(limits, tracking_uri(workspace), step)
    return found


def publish(client: Any, workspace: Workspace, content: Content) -> str:
    """Make the run of the training hold `content`; return its id. It is FINISHED only when it does.

    Raises:
        UnreachableError: the store took something and does not have it.
        TrackingError: the experiment was deleted.
    """
    run_id = find_or_create(client, workspace, content.plan)
    complete(client, run_id, content)
    return run_id


def complete(client: Any, run_id: str, content: Content) -> None:
    """Send what the run lacks of `content`, and ask again."""
    stored = Stored(client, run_id)
    for part in _PARTS:
        if lack := part(stored, content):
            lack.send()
            stored = Stored(client, run_id)
            if left := part(stored, content):
                raise UnreachableError(
                    f"the tracking store took {', '.join(left.what)} for the run {run_id}, and does not have it: see its log; "
                    "run the command again once that is solved"
                )
    if content.record and stored.run.info.status != "FINISHED":
        client.set_terminated(run_id, "FINISHED", content.record.finished_ms)
    if content.record:
        update_project_run(client, run_id)


def missing(client: Any, run_id: str, content: Content) -> Sequence[str]:
    """Return what the run lacks of `content`, as in "38 of 46 metrics" or "evaluation/report.html"."""
    stored = Stored(client, run_id, strict=True)
    lacks = [lack for part in _PARTS if (lack := part(stored, content))]
    running = ["the status FINISHED"] if content.record and stored.run.info.status != "FINISHED" else []
    return [what for lack in lacks for what in lack.what] + running


def send_points(client: Any, run_id: str, points: Sequence[Point]) -> None:
    """Log points of curves; MLflow keeps equal ones once."""
    from mlflow.entities import Metric

    send(client, run_id, [Metric(each.name, each.value, each.timestamp_ms, each.step) for each in points])


def _tags(stored: Stored, content: Content) -> _Lack | None:
    from mlflow.entities import RunTag

    lacking = {name: value for name, value in content.tags.items() if stored.run.data.tags.get(name) != value}
    tags = [RunTag(name, value) for name, value in lacking.items()]
    what = [f"the tag {name}" for name in lacking] if len(lacking) <= _NAMED else [_share(lacking, content.tags, "tags")]
    return _Lack(what, lambda: stored.client.log_batch(stored.run_id, tags=tags)) if lacking else None


def _inputs(stored: Stored, content: Content) -> _Lack | None:
    lacking = content.inputs({each.dataset.name for each in stored.run.inputs.dataset_inputs})
    return _Lack(["the data set"], lambda: stored.client.log_inputs(stored.run_id, lacking)) if lacking else None


def _params(stored: Stored, content: Content) -> _Lack | None:
    from mlflow.entities import Param

    lacking = [Param(name, value) for name, value in content.params.items() if name not in stored.run.data.params]
    what = [_share(lacking, content.params, "params")]
    return _Lack(what, lambda: stored.client.log_batch(stored.run_id, params=lacking)) if lacking else None


def _curves(stored: Stored, content: Content) -> _Lack | None:
    """Compare every point of every epoch."""
    names = {point.name for point in content.points}
    sent = HISTORY in content.files and stored.published.get(HISTORY) == sha256(content.files[HISTORY])
    if sent and not stored.strict and names <= {*stored.run.data.metrics}:
        return None  # of each metric one request
    known = {
        (each.key, each.step, each.timestamp, _comparable(each.value))
        for history in stored.histories(names)
        for each in history
    }
    lacking = [
        each for each in content.points if (each.name, each.step, each.timestamp_ms, _comparable(each.value)) not in known
    ]
    what = _share(lacking, content.points, "points of the training curves")
    return _Lack([what], lambda: send_points(stored.client, stored.run_id, lacking)) if lacking else None


def _model(stored: Stored, content: Content) -> _Lack | None:
    """Ask for one finished logged model that is the run's output, and for no unfinished one that nobody writes any more."""
    if content.record is None or content.model is None:
        return None
    known, run = finished(stored.models), stored.run
    outputs = {each.model_id for each in run.outputs.model_outputs} if run.outputs else set()
    lacks = known is None or known.model_id not in outputs
    what = ["the model"] * lacks + ["the end of an unfinished model"] * bool(unfinished(stored.models))
    return _Lack(what, lambda: log_model(stored.client, run, content)) if what else None


def _scores(stored: Stored, content: Content) -> _Lack | None:
    """Compare the metrics that have one value: on the run, and those that its logged model was measured by, on that."""
    last = {each.name: each for each in content.points if each.step == content.points[-1].step}
    wanted, evaluated = content.scores, content.evaluation.metrics if content.evaluation else {}
    measured = {**{name: each.value for name, each in last.items()}, **evaluated}
    model = finished(stored.models) if wanted else None
    on_model = {each.key: each.value for each in model.metrics or ()} if model else {}
    lacking = {name for name, value in wanted.items() if not _same(stored.run.data.metrics.get(name), value)}
    lacking |= {name for name, value in measured.items() if model and not _same(on_model.get(name), value)}

    def send_all() -> None:
        from mlflow.entities import Metric

        now, metrics = _after(stored, lacking - {*last}), []
        for name in sorted(lacking):
            point = last.get(name) or Point(name, wanted[name], now, 0)
            split = name.partition("/")[0]
            of_split = input_name(content.plan, split) if split in SPLITS else {}
            model_id = model.model_id if model and name in measured else None
            metrics.append(Metric(name, point.value, point.timestamp_ms, point.step, model_id=model_id, **of_split))
        send(stored.client, stored.run_id, metrics)

    return _Lack([_share(lacking, {*wanted, *measured}, "metrics")], send_all) if lacking else None


def _after(stored: Stored, names: set[str]) -> int:
    """Return a Unix time in ms, now or later, after every value that the run has of the metrics `names`."""
    known = (each for history in stored.histories(names) for each in history)
    return max(int(time.time() * 1000), *(int(each.timestamp) + 1 for each in known), 0)


def _files(stored: Stored, content: Content) -> _Lack | None:
    """Compare files and texts by digest, as recorded after they were stored, and by size, as the store lists them."""
    client, run_id, known = stored.client, stored.run_id, stored.published
    texts = {path: text.encode() for path, text in content.texts.items()}
    digests = {path: digest_of(text).hexdigest() for path, text in texts.items()}
    digests |= {path: sha256(file) for path, file in content.files.items()}
    folders = {str(Path(path).parent) for path in digests}
    there = stored.sizes(folders)

    def has(path: str) -> bool:
        if path.startswith(_OF_PROMOTIONS):
            return path in there
        size = len(texts[path]) if path in texts else content.files[path].stat().st_size
        same = known.get(path) == digests[path] and there.get(path) in (None, size)
        return path in there and path in known and (same or path.startswith(_KEPT))

    lacking = {path: content.files.get(path, texts.get(path)) for path in digests if not has(path)}
    sent = known.get(EVALUATION) == digests.get(EVALUATION)
    described = _description(stored.run, content, sent)
    image = content.preview if content.preview and IMAGES not in stored.run.data.tags else None

    def send_all() -> None:
        if described:
            client.set_tag(run_id, NOTE, described)
        if image:
            stored.store_image(content.files[str(image)])
        stored.store(lacking)
        record = {**known, **{path: digests[path] for path in lacking}}
        client.log_text(run_id, json.dumps(record, indent=2, sort_keys=True), PUBLISHED)

    what = [*lacking] if len(lacking) <= _NAMED else [_share(lacking, digests, "files")]
    what = [*what, *(["the description"] * bool(described)), *(["its image"] * bool(image))]
    return _Lack(what, send_all) if what else None


def _description(run: Any, content: Content, sent: bool) -> str:
    """Return the description that the run is to get; "" where it has it, whatever a person has made of it since."""
    if content.evaluation is None or (sent and run.data.tags.get(NOTE)):
        return ""
    link = ""
    if image := content.preview:
        link = f"\n\n![{image.stem}](get-artifact?run_uuid={run.info.run_id}&path={image.with_suffix('.svg')})"
    return cut(content.evaluation.description, MAX_TAG - len(link)) + link


def _same(stored: float | None, value: float) -> bool:
    return stored is not None and _comparable(stored) == _comparable(value)


def _comparable(value: float) -> float | str:
    """Return what two values that MLflow does not tell apart have in common."""
    if math.isnan(value):
        return "nan"
    return math.copysign(math.inf, value) if abs(value) > _INFINITE else value


def _share(part: Any, whole: Any, noun: str) -> str:
    return f"{len(part):,} of {len(whole):,} {noun}"


_PARTS = (_tags, _inputs, _params, _curves, _model, _scores, _files)
