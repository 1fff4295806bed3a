"""The model card in Markdown (Mitchell et al. 2019, https://arxiv.org/abs/1810.03993), from the facts of the report."""

from collections.abc import Iterator

from pipeline import page
from pipeline.evaluate.evaluation import Evaluation
from pipeline.evaluate.wording import decimal, percent
from pipeline.scores import metrics
from pipeline.workspace import Workspace, replacing

_CLASSES = 20  # named; of more, the weakest. The registry takes 5,000 characters
_PAIRS, _SLICES = 3, 3


def write(evaluation: Evaluation, workspace: Workspace) -> None:
    """Writes reports/model_card.md, which `register` makes the description of the version."""
    with replacing(workspace.model_card) as aside:
        aside.write_text("\n".join(_lines(evaluation)) + "\n", encoding="utf-8")


def _lines(evaluation: Evaluation) -> Iterator[str]:
    yield headline(evaluation)
    for title, content in (
        ("Model", _model),
        ("Use", _use),
        ("Training data", _training_data),
        ("Evaluation", _evaluation),
        ("Classes", _classes),
        ("Where it fails", _failures),
        ("Caveats", _caveats),
    ):
        yield f"\n### {title}\n"
        yield from content(evaluation)


def headline(evaluation: Evaluation) -> str:
    """The evaluation in a sentence of Markdown; it begins plain, as the list of a model's versions shows its beginning."""
    scores, interval = evaluation.scores, evaluation.intervals["accuracy"]
    return (
        f"{percent(scores.accuracy, 2)} accuracy "
        f"(95 % interval {percent(interval.low, 2)} – {percent(interval.high, 2)}) on "
        f"{len(evaluation.predictions.labels):,} test pictures of {evaluation.data.description.name}; "
        f"weakest class **{_plain(evaluation.class_names[scores.weakest])}** "
        f"({percent(float(scores.per_class.recall[scores.weakest]))} recall)."
    )


def _model(evaluation: Evaluation) -> Iterator[str]:
    training = evaluation.training
    height, width, channels = training.image_shape
    yield f"- `{training.architecture}`, {training.parameters:,} trained parameters, trained in {training.fit_seconds:,.0f} s"
    yield f"- Takes uint8 pictures `(n, {height}, {width}, {channels})`, 0–255; rescaling is inside"
    yield f"- Gives {len(training.class_names)} probabilities, in the order of the classes below"
    yield f"- Weights `{training.weights_digest[:12]}` · training `{training.training_id}` · {_code(evaluation)}"
    if training.warm_start:
        yield f"- Began as {training.warm_start['model_name']} version {training.warm_start['version']}"


def _code(evaluation: Evaluation) -> str:
    git = evaluation.training.git
    if git.commit is None:
        return "no git commit was known"
    return f"commit `{git.commit[:12]}`" + (" with uncommitted changes (`provenance/` on the run)" if git.dirty else "")


def _use(evaluation: Evaluation) -> Iterator[str]:
    name, classes = evaluation.data.description.name, len(evaluation.class_names)
    yield f"To tell the {classes} classes of {name} apart in pictures like its training data."
    yield "Not for other pictures: it always answers with one of its classes, also where none is right."


def _training_data(evaluation: Evaluation) -> Iterator[str]:
    data = evaluation.data.description
    counts = " · ".join(f"{count:,} {split}" for split, count in data.counts.items())
    yield f"{data.name}, digest `{data.digest[:12]}`: {counts} pictures."
    yield "What validation found is in `data/validation.html` of the run."


def _evaluation(evaluation: Evaluation) -> Iterator[str]:
    scores = evaluation.scores
    figures = {
        "accuracy": percent(scores.accuracy, 2),
        "top-2 accuracy": percent(scores.top2_accuracy, 2),
        "macro F1": decimal(scores.macro_f1, 4),
        "weighted F1": decimal(scores.weighted_f1, 4),
        "log loss": decimal(scores.log_loss, 4),
        "Brier score": decimal(scores.brier, 4),
        "calibration error": decimal(scores.calibration.error, 4),
    }
    yield f"On the test split, {len(evaluation.predictions.labels):,} pictures that training did not see: " + " · ".join(
        f"{name} {value}" for name, value in figures.items()
    )


def _classes(evaluation: Evaluation) -> Iterator[str]:
    per_class, names = evaluation.scores.per_class, evaluation.class_names
    order = sorted(range(len(names)), key=lambda label: per_class.recall[label]) if len(names) > _CLASSES else range(len(names))
    yield "| class | precision | recall | F1 |\n|---|---|---|---|"
    for label in list(order)[:_CLASSES]:
        precision, recall = percent(float(per_class.precision[label])), percent(float(per_class.recall[label]))
        yield f"| {_plain(names[label])} | {precision} | {recall} | {decimal(float(per_class.f1[label]))} |"
    if len(names) > _CLASSES:
        yield f"\nThe {_CLASSES} of lowest recall; {len(names) - _CLASSES:,} more are in `evaluation/per_class.csv` of the run."


def _failures(evaluation: Evaluation) -> Iterator[str]:
    names = evaluation.class_names
    for pair in metrics.confused_pairs(evaluation.scores.confusion, _PAIRS):
        yield f"- {percent(pair.share)} of {_plain(names[pair.actual])} is called {_plain(names[pair.predicted])}"
    for each in evaluation.slices[:_SLICES]:
        yield f"- {percent(each.accuracy)} accuracy where {str(each).replace('_', ' ')} ({each.pictures:,} pictures)"


def _caveats(_: Evaluation) -> Iterator[str]:
    yield "The test split comes from the same source as the training data: pictures from elsewhere will do worse."
    yield "Whom the pictures show, and who is left out of them, was not examined."


def _plain(name: str) -> str:
    """A class name, and not much more of it than a table's cell holds."""
    return page.plain(name)[:80]
