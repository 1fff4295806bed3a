"""A version's description in the registry: a short model card in Markdown (Mitchell et al. 2019, arxiv.org/abs/1810.03993)."""

from collections.abc import Sequence

from pipeline.register.evidence import Evidence
from pipeline.register.gate import Rule


def write(evidence: Evidence, rules: Sequence[Rule], test_pictures: int) -> str:
    """The card of the model that `evidence` speaks of."""
    training, metrics = evidence.training, evidence.metrics
    height, width, channels = training.image_shape
    weakest = min(evidence.recalls, key=lambda name: evidence.recalls[name])
    lines = [
        f"**{100 * metrics['accuracy']:.2f} % accuracy** on {test_pictures:,} test pictures of {training.dataset_name}; "
        f"weakest class **{weakest}** ({100 * evidence.recalls[weakest]:.1f} % recall).",
        "",
        f"- **Model**: `{training.architecture}`, {training.parameters:,} parameters, trained in {training.fit_seconds:,.0f} s",
        f"- **Takes** uint8 pictures `(n, {height}, {width}, {channels})`, 0–255; rescaling is inside. "
        f"**Gives** {len(training.class_names)} probabilities: {', '.join(training.class_names)}",
        f"- **Data**: {training.dataset_name}, digest `{training.dataset_digest[:12]}`",
        f"- **Code**: {_code(evidence)}",
        f"- **Macro F1** {metrics['macro_f1']:.4f} · **log loss** {metrics['log_loss']:.4f}",
        "",
        "The gate it passed:",
        "",
        *(f"- {rule}" for rule in rules),
        "",
        "Not for pictures unlike its training data: it always answers with one of its classes.",
    ]
    return "\n".join(lines)


def _code(evidence: Evidence) -> str:
    git = evidence.training.git
    if git.commit is None:
        return "no git commit was known"
    return f"commit `{git.commit[:12]}`" + (" with uncommitted changes (`provenance/` on the run)" if git.dirty else "")
