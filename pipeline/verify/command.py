"""verify: rebuild a registered version in a temporary worktree, and record whether its weights and scores match.

registry entry → code, params, data → validate, train, evaluate → verdict → tags of the version, a JSON file on its run
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pipeline import provenance, tracking
from pipeline.errors import RegistryError
from pipeline.project import Project
from pipeline.promotion import ledger
from pipeline.verify import rebuild, recorded, verdict
from pipeline.verify.recorded import Entry
from pipeline.verify.verdict import Difference, Score, Verdict

TAG, DETAIL = "verified", "verified_detail"


def run(wanted: str, project: Project) -> None:
    """Rebuild the version `wanted` (a number or an alias), compare, and record the verdict; the checkout stays as it is.

    Raises:
        RegistryError: it was not reproduced, or it cannot be rebuilt.
        PipelineError: the store does not answer, or a file on the run cannot be used.
    """
    client = tracking.connect(project.workspace)
    with tracking.store_guard(project.workspace):
        entry = recorded.read(client, wanted, project.model)
    print(f"rebuilding {entry.name} in a temporary worktree", flush=True)
    found = _rebuild(client, entry, project)
    with tracking.store_guard(project.workspace):
        _record(client, entry, found)
    _print_scores(found.scores)
    if found.outcome == "failed":
        raise RegistryError(f"{entry.name} was not reproduced: {found.detail}")
    print(f"{found.outcome}: {entry.name} was reproduced: {found.detail}")


def _rebuild(client: Any, entry: Entry, project: Project) -> Verdict:
    here, git = project.workspace, entry.record.git
    with rebuild.worktree(git, entry.name, here) as there:
        changes = f" and {len(git.diff.splitlines())} lines of uncommitted changes" if git.diff else ""
        print(f"{'code':<10}commit {str(git.commit)[:12]}{changes}", flush=True)
        rebuild.write_params(entry, there, here)
        place, alteration = rebuild.bring_data(entry.data, there, here)
        print(f"{'data':<10}{place}, digest {entry.data.digest[:12]}", flush=True)
        differences = [*([Difference("data", alteration)] if alteration else []), *entry.contradictions]
        if differences:
            return verdict.failed(differences)
        with tracking.store_guard(here):
            rebuild.lend_parent(client, entry.record, there)
        for stage in ("validate", "train", "evaluate"):
            rebuild.run_stage(stage, there, shown=stage == "train")
        rebuilt = recorded.intervals(there.intervals)
        scores = [Score(name, *known, rebuilt=rebuilt.get(name, (math.nan,))[0]) for name, known in entry.scores.items()]
        return verdict.judge(entry.record, provenance.read_training(there.training), scores)


def _print_scores(scores: Sequence[Score]) -> None:
    if scores:
        print(f"{'score':<20}{'recorded':>10}{'rebuilt':>10}   95% interval of the recorded")
    for each in scores:
        outside = "" if each.agrees else "   outside"
        print(f"{each.name:<20}{each.recorded:>10.4f}{each.rebuilt:>10.4f}   {each.low:.4f} – {each.high:.4f}{outside}")


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
