"""verify: a registered version derived once more, from its registry entry alone, beside the user's checkout.

entry → code (worktree) → data → validate, train, evaluate there → verdict → tags and a record on the version's run
"""

import json
import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from pipeline import params, provenance, tracking
from pipeline.errors import ParamsError, RegistryError
from pipeline.project import Project
from pipeline.promotion import ledger
from pipeline.verify import data, parent, recorded, verdict, worktree
from pipeline.verify.recorded import Entry
from pipeline.verify.verdict import Difference, Score, Verdict
from pipeline.verify.worktree import Worktree, step
from pipeline.workspace import Workspace

TAG, DETAIL = "verified", "verified_detail"


def run(wanted: str, project: Project) -> None:
    """Derives a version again and says whether it is the same.

    Args:
        wanted: A version or an alias.
        project: A checkout of its repository; it stays as it is.

    Raises:
        RegistryError: it failed, or it cannot be tried.
        PipelineError: the store does not answer, or a stage failed.
    """
    client = tracking.connect(project.workspace)
    with tracking.store_guard(project.workspace):
        entry = recorded.read(client, wanted, project)
    name = f"{entry.source.model_name} {entry.source.name}"
    print(f"deriving {name} again, in a folder of its own: nothing here is changed", flush=True)
    again = _derive(client, entry, name, project)
    with tracking.store_guard(project.workspace):
        _write(client, entry, again)
    _show(again.scores)
    if again.outcome == "failed":
        raise RegistryError(f"{name} cannot be derived again: {again.detail}")
    print(f"{again.outcome.upper()}: {name}: {again.detail}")


def _derive(client: Any, entry: Entry, name: str, project: Project) -> Verdict:
    git = entry.record.git
    with ExitStack() as stack:
        with step("code"):
            copy = stack.enter_context(worktree.checked_out(git, name, project.workspace))
            _write_params(entry, copy.workspace)
            changes = f", {len(git.diff.splitlines())} lines of changes" if git.diff else ""
            print(f"    commit {str(git.commit)[:12]}{changes}")
        with step("data"):
            where, altered = data.bring(entry.data, copy, project.workspace)
            print(f"    from {where}, digest {entry.data.digest[:12]}")
        early = [*([Difference("data", altered)] if altered else []), *entry.contradictions]
        if early:
            return verdict.failed(verdict.ordered(early))
        with tracking.store_guard(project.workspace):
            parent.lend(client, entry.record, copy)
        for stage in ("validate", "train", "evaluate"):
            copy.run(stage, shown=stage == "train")
        again = provenance.read_training(copy.workspace.training)
        return verdict.judge(entry.record, again, _scores(entry, copy))


def _write_params(entry: Entry, there: Workspace) -> None:
    """The recorded params.yaml, with the number of threads that really ran: all cores of this machine may be another number."""
    from ruamel.yaml import YAML

    there.params.write_text(entry.params, encoding="utf-8")
    content = params.read_yaml(there.params)
    try:
        content["train"]["threads"] = entry.record.threads
    except (KeyError, TypeError):
        raise ParamsError(f"provenance/params.yaml of {entry.source.name} has no section train: it was altered") from None
    with there.params.open("w", encoding="utf-8") as file:
        YAML().dump(content, file)


def _scores(entry: Entry, copy: Worktree) -> list[Score]:
    again = recorded.intervals_in(copy.workspace.intervals)
    return [Score(name, *recorded, again=again.get(name, (math.nan,))[0]) for name, recorded in entry.scores.items()]


def _show(scores: Sequence[Score]) -> None:
    if scores:
        print(f"{'score':<20}{'recorded':>10}{'again':>10}   95 % interval of the recorded")
    for each in scores:
        outside = "" if each.agrees else "   OUTSIDE"
        print(f"{each.name:<20}{each.recorded:>10.4f}{each.again:>10.4f}   {each.low:.4f} – {each.high:.4f}{outside}")


def _write(client: Any, entry: Entry, again: Verdict) -> None:
    """The verdict as tags of the version, where people look, and with all of it as a file on its run."""
    source, when, who = entry.source, ledger.now(), provenance.user()
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
