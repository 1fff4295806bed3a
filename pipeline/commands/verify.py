"""verify: a registered version derived once more, from its registry entry alone, beside the user's checkout.

entry → code (worktree) → data → validate, train, evaluate there → verdict → tags and a record on the version's run
"""

import csv
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline import dataset, params, params_file, provenance, tracking
from pipeline.commands import verdict, verify_data, worktree
from pipeline.commands.verdict import Difference, Score, Verdict
from pipeline.commands.worktree import Worktree
from pipeline.dataset import Description
from pipeline.errors import EvaluationError, ParamsError, RegistryError
from pipeline.provenance import TrainingRecord
from pipeline.register import history
from pipeline.tracking import Source
from pipeline.workspace import Workspace

TAG, DETAIL = "verified", "verified_detail"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What the registry knows of a version."""

    source: Source
    record: TrainingRecord
    params: str  # params.yaml
    data: Description
    scores: Mapping[str, tuple[float, float, float]]  # name → value, and the ends of its 95 % bootstrap interval
    contradictions: list[Difference]


def run(wanted: str, workspace: Workspace) -> None:
    """Derives a version again and says whether it is the same.

    Args:
        wanted: A version or an alias.
        workspace: A checkout of its repository; it stays as it is.

    Raises:
        RegistryError: it failed, or it cannot be tried.
        PipelineError: the store does not answer, or a stage failed.
    """
    client = tracking.connect(workspace)
    with tracking.answering(workspace):
        entry = _entry(client, wanted, workspace)
    name = f"{entry.source.model_name} {entry.source.name}"
    print(f"deriving {name} again, in a folder of its own: nothing here is changed", flush=True)
    again = _derive(entry, name, workspace)
    with tracking.answering(workspace):
        _write(client, entry, again)
    _show(again.scores)
    if again.outcome == "failed":
        raise RegistryError(f"{name} cannot be derived again: {again.detail}")
    print(f"{again.outcome.upper()}: {name}: {again.detail}")


def _entry(client: Any, wanted: str, workspace: Workspace) -> Entry:
    model = f"{params.load(workspace.params).ingest.dataset_name}-classifier"
    source = tracking.find_version(client, model, wanted)
    record = tracking.training_record(client, source)
    if record.warm_start:
        parent = f"{record.warm_start['model_name']} version {record.warm_start['version']}"
        raise RegistryError(
            f"{model} {source.name} began with the weights of {parent}: only what was trained anew can be derived"
        )
    tags = client.get_model_version(model, source.version).tags
    logged = client.get_run(source.run_id).data.params
    with ExitStack() as stack:
        stack.enter_context(tracking.model_folder(client, source))  # its files are those that were registered
        files = {
            path: stack.enter_context(tracking.artifact(client, source, path))
            for path in ("provenance/params.yaml", "data/dataset.json", "evaluation/intervals.csv")
        }
        missing = [path for path, file in files.items() if file is None]
        if missing:
            raise EvaluationError(
                f"{model} {source.name} cannot be derived again: its run {source.run_id} holds no {missing[0]}; "
                "`dvc repro -f evaluate register` where it was trained adds it"
            )
        recorded, description, intervals = (file for file in files.values() if file)
        return Entry(
            source=source,
            record=record,
            params=recorded.read_text(encoding="utf-8"),
            data=dataset.describe(description.parent),
            scores=_intervals(intervals),
            contradictions=verdict.contradictions(record, tags, logged),
        )


def _intervals(path: Path) -> Mapping[str, tuple[float, float, float]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {row["score"]: (float(row["value"]), float(row["low"]), float(row["high"])) for row in csv.DictReader(file)}
    except (ValueError, KeyError, TypeError) as error:
        raise EvaluationError(f"{path.name} is not what evaluate writes ({error!r}): run `dvc repro -f evaluate`") from None


def _derive(entry: Entry, name: str, workspace: Workspace) -> Verdict:
    start = time.perf_counter()
    git = entry.record.git
    with worktree.checked_out(git, name, workspace) as copy:
        changes = f", {git.diff.count(chr(10))} lines of changes" if git.diff else ""
        print(f"code\n    commit {str(git.commit)[:12]}{changes}\n    {time.perf_counter() - start:,.1f} s", flush=True)
        _write_params(entry, copy.workspace)
        print("data", flush=True)
        start = time.perf_counter()
        where, altered = verify_data.bring(entry.data, copy, workspace)
        print(f"    from {where}, digest {entry.data.digest[:12]}\n    {time.perf_counter() - start:,.1f} s", flush=True)
        early = [*([Difference("data", altered)] if altered else []), *entry.contradictions]
        if early:
            return verdict.failed(verdict.ordered(early))
        for stage in ("validate", "train", "evaluate"):
            copy.run(stage, shown=stage == "train")
        again = provenance.read_training(copy.workspace.training)
        return verdict.judge(entry.record, again, _scores(entry, copy))


def _write_params(entry: Entry, there: Workspace) -> None:
    """The recorded params.yaml, with the number of threads that really ran: all cores of this machine may be another number."""
    from ruamel.yaml import YAML

    there.params.write_text(entry.params, encoding="utf-8")
    content = params_file.read_yaml(there.params)
    try:
        content["train"]["threads"] = entry.record.threads
    except (KeyError, TypeError):
        raise ParamsError(f"provenance/params.yaml of {entry.source.name} has no section train: it was altered") from None
    with there.params.open("w", encoding="utf-8") as file:
        YAML().dump(content, file)


def _scores(entry: Entry, copy: Worktree) -> list[Score]:
    again = _intervals(copy.workspace.intervals)
    return [Score(name, *recorded, again=again[name][0]) for name, recorded in entry.scores.items()]


def _show(scores: Sequence[Score]) -> None:
    if scores:
        print(f"{'score':<20}{'recorded':>10}{'again':>10}   95 % interval of the recorded")
    for each in scores:
        outside = "" if each.agrees else "   OUTSIDE"
        print(f"{each.name:<20}{each.recorded:>10.4f}{each.again:>10.4f}   {each.low:.4f} – {each.high:.4f}{outside}")


def _write(client: Any, entry: Entry, again: Verdict) -> None:
    """The verdict as tags of the version, where people look, and with all of it as a file on its run."""
    source, when, who = entry.source, history.now(), provenance.user()
    content = {
        "model": source.model_name,
        "version": source.version,
        "when": when,
        "who": who,
        "git_commit": entry.record.git.commit,
        "weights_digest": entry.record.weights_digest,
        "dataset_digest": entry.record.dataset_digest,
        **asdict(again),
    }
    text = json.dumps(content, indent=2, ensure_ascii=False)
    client.log_text(source.run_id, text, f"verification/{source.version}-{when.replace(':', '')}.json")
    for tag, value in ((TAG, f"{again.outcome} {when[:16]}Z by {who}"), (DETAIL, again.detail[:500])):
        client.set_model_version_tag(source.model_name, source.version, tag, value)
