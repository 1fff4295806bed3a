"""verify: rebuild a registered version in a temporary folder, and record whether weights, files and predictions match.

registry entry → what would run, confirmed → code, params, data → validate, train, evaluate → verdict → tags, a JSON file
"""

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import dataset, provenance, tracking
from pipeline.errors import RegistryError
from pipeline.page import printable
from pipeline.project import Project
from pipeline.promotion import ledger
from pipeline.register.fresh import FreshProcess
from pipeline.tracking import entry as model_entry
from pipeline.verify import data, rebuild, recorded, sandbox, verdict
from pipeline.verify.rebuild import Code
from pipeline.verify.recorded import Entry
from pipeline.verify.verdict import Agreement, Difference, Score, Verdict
from pipeline.workspace import Workspace

TAG, DETAIL = "verified", "verified_detail"
_LISTED = 10  # files on one line


def run(wanted: str, yes: bool, project: Project) -> None:
    """Rebuild the version `wanted` (a number or an alias), compare, and record the verdict; the checkout stays as it is.

    Args:
        wanted: A version, or a registry stage.
        yes: Run code that is in no branch or tag without asking.
        project: The checkout.

    Raises:
        RegistryError: it was not reproduced, it cannot be rebuilt, or its code was not confirmed.
        PipelineError: the store does not answer, or a file on the run cannot be used.
    """
    client = tracking.connect(project.workspace)
    with tracking.store_guard(project.workspace), recorded.opened(client, wanted, project.model) as entry:
        if any(each.kind != "limits" for each in entry.contradictions):
            found = verdict.failed(entry.contradictions)
        else:
            confirm(rebuild.inspect(entry.record.git, entry.name, project.workspace), entry, yes=yes)
            found = _rebuild(client, entry, project.workspace)
        _record(client, entry, found)
    for each in found.differences:
        if each.kind == "limits":
            print(f"note: {each.text}; it cannot shape the model")
    _print_scores(found.scores)
    if found.agreement:
        print(found.agreement)
    if found.outcome == "failed":
        raise RegistryError(f"{entry.name} was not reproduced: {found.detail}")
    print(f"{found.outcome}: {entry.name} was reproduced: {found.detail}")


def confirm(code: Code, entry: Entry, *, yes: bool) -> None:
    """Print which code is about to run; ask, unless `yes`, if some of it is not in the history of a branch or tag.

    Raises:
        RegistryError: it was not confirmed, or nobody is there to ask.
    """
    changes = ""
    if code.lines:
        more = f" and {len(code.files) - _LISTED:,} more" if len(code.files) > _LISTED else ""
        names = ", ".join(name[:100] for name in code.files[:_LISTED])
        changes = f" and {code.lines:,} line{'s' * (code.lines > 1)} of uncommitted changes, of {names}{more}"
    astray = "" if code.on_branch else " (on no branch or tag of this clone)"
    print(f"rebuilding {entry.name} in a temporary folder: this runs its recorded code")
    print(f"{'code':<10}commit {code.commit[:12]}{astray}{changes}", flush=True)
    if not sandbox.confines():
        print("warning: this system cannot confine it (Linux 6.2 or newer can): it could write anywhere", file=sys.stderr)
    if yes or code.is_reviewed:
        return
    where = (
        f"git.diff in provenance/training.json of run {entry.source.run_id}" if code.lines else f"`git show {code.commit[:12]}`"
    )
    if not sys.stdin.isatty():
        raise RegistryError(
            f"verify would run commit {code.commit[:12]}{astray}{changes}, code that no branch or tag of this clone holds: "
            f"look at {where}, then confirm with --yes"
        )
    print(f"{where} shows it. Run it? [y/N] ", end="", flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise RegistryError(f"{entry.name} was not verified: its code was not confirmed")


def _rebuild(client: Any, entry: Entry, here: Workspace) -> Verdict:
    with rebuild.worktree(entry.record.git, entry.name, here) as there:
        rebuild.write_params(entry, there, here)
        rebuild.lend_parent(client, entry.record, there)
        place, alteration = data.bring(entry.data, entry.dvc_lock, there, here)
        print(f"{'data':<10}{place}, digest {printable(entry.data.digest)[:12]}", flush=True)
        if alteration:
            return verdict.failed([Difference("data", alteration), *entry.contradictions])
        for stage in ("validate", "train"):
            rebuild.run_stage(stage, there, shown=stage == "train")
        with FreshProcess() as fresh:  # it loads TensorFlow meanwhile
            rebuild.run_stage("evaluate", there)
            return _judge(entry, there, fresh)


def _judge(entry: Entry, there: Workspace, fresh: FreshProcess) -> Verdict:
    """Compare what was rebuilt with the entry."""
    rebuilt, folder = provenance.read_training(there.training), _rebuilt_entry(there)
    files = verdict.differing_files(entry.folder, folder, entry.record.environment, rebuilt.environment)
    now = recorded.intervals(there.intervals)
    scores = [Score(name, *known, rebuilt=now.get(name, (math.nan,))[0]) for name, known in entry.scores.items()]
    agreement = _agreement(entry, folder, rebuilt.weights_digest, there, fresh)
    found = verdict.judge(entry.record, rebuilt, files, agreement, scores)
    return replace(found, differences=[*entry.contradictions, *found.differences])


def _rebuilt_entry(there: Workspace) -> Path:
    """Return the files of the model that `train` logged in the worktree, checked like those of a version.

    Raises:
        RegistryError: there are none, or not as this pipeline logs them.
    """
    found = [path.parent for path in there.artifacts.glob("*/models/*/artifacts/MLmodel")]
    if len(found) != 1 or found[0].resolve() != found[0]:
        raise RegistryError(f"train logged {len(found)} models in the worktree instead of 1")
    model_entry.check(found[0], "the rebuilt model")
    return found[0]


def _agreement(entry: Entry, folder: Path, weights_digest: str, there: Workspace, fresh: FreshProcess) -> Agreement:
    """Predict the whole test split with the registered and with the rebuilt model, in one process."""
    if dataset.content_digest(there.dataset) != entry.data.digest:
        raise RegistryError("a stage changed data/dataset in the worktree: nothing was compared")
    images, classes = there.dataset / "test" / "images.npy", len(entry.record.class_names)
    models = (entry.folder, entry.name, entry.record.weights_digest), (folder, "the rebuilt model", weights_digest)
    before, now = (fresh.predict(*model, images, classes).probabilities for model in models)
    labels = np.asarray(dataset.read(there.dataset).test.labels)
    return verdict.agreement(labels, before, now, entry.predictions)


def _print_scores(scores: Sequence[Score]) -> None:
    if scores:
        print(f"{'score':<20}{'recorded':>10}{'rebuilt':>10}   95% interval of the recorded")
    for each in scores:
        print(f"{each.name:<20}{each.recorded:>10.4f}{each.rebuilt:>10.4f}   {each.low:.4f} – {each.high:.4f}")


def _record(client: Any, entry: Entry, found: Verdict) -> None:
    """Write the verdict as tags of the version, and with every difference and score as a JSON file on its run."""
    source, when, who = entry.source, ledger.now(), provenance.user()
    content = {
        "model": source.model_name,
        "version": source.version,
        "when": when,
        "who": who,
        "git_commit": entry.record.git.commit,
        "weights_digest": entry.record.weights_digest,
        "dataset_digest": entry.record.dataset_digest,
        **asdict(found),
    }
    text = json.dumps(content, indent=2, ensure_ascii=False)
    client.log_text(source.run_id, text, f"verification/{source.version}-{when.replace(':', '')}.json")
    for tag, value in ((TAG, f"{found.outcome} {when[:16]}Z by {who}"), (DETAIL, found.detail[:500])):
        client.set_model_version_tag(source.model_name, source.version, tag, value)
