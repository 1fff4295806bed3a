"""Simulates what the gate to production refuses and lets through, with the functions that `promote` uses.

    .venv/bin/python -m benchmarks.promotion_gate retrain [SET ARCHITECTURE] | equal | calibrated | walk | loss [--seeds N]

Each test image has a difficulty: the chance that a model of this accuracy predicts it correctly. Models share the difficulties
and are otherwise independent. Those of a class are Beta-distributed, spread out so that two equal models disagree on as many
images as retrained ones did. Only `retrain` trains.

retrain   models that differ in the seed only: on how many test images does just one of two predict correctly
equal     candidates that are as good as production: how many are refused
calibrated  the same with probabilities, which the rule of calibration needs; one version in production
walk      each version worse than the one before, with one candidate for each step, and with 20: at which step it is stopped
loss      a candidate that is worse than production: how large a loss is let through
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import beta

from benchmarks import small_data
from benchmarks.measure import record
from pipeline import params
from pipeline.compare.comparison import DataDrift
from pipeline.params import PromoteParams
from pipeline.promotion import rules
from pipeline.promotion.rules import Performance
from pipeline.scores import intervals, metrics
from pipeline.workspace import Workspace

IMAGES = (36, 100, 360, 1_000, 10_000)
_FASHION = (0.885, 0.988, 0.905, 0.945, 0.905, 0.985, 0.800, 0.975, 0.985, 0.977)  # recalls of `default`, 93.5 % in all
_FEATURES, _BINS = 4, 4  # slices: of four features, the first of which follows the difficulty
_CALIBRATION_BINS = 15
_STEPS = 20_000  # of the table of difficulties
Models = Sequence[NDArray[np.bool_]]  # which images each predicts correctly, (n,)


@dataclass(frozen=True)
class Task:
    """A data set and the family of models that are trained on it."""

    recalls: tuple[float, ...]  # of each class, by the first model
    discordant: float  # share of the images that only one of two equal models predicts correctly

    @cache  # noqa: B019, a handful of tasks
    def difficulties(self, loss: float) -> NDArray[np.float64]:
        """Return the chance of a correct prediction, (classes, quantiles), of a model whose accuracy is lower by `loss`."""
        errors = 1 - np.array(self.recalls)
        spread = brentq(lambda s: 2 * np.mean(errors * (1 - errors)) * s / (s + 1) - self.discordant, 1e-4, 1e3)
        errors = errors * (1 + loss / errors.mean())
        places = (np.arange(_STEPS) + 0.5) / _STEPS
        return np.stack([beta.ppf(places, (1 - error) * spread, error * spread) for error in errors])

    def models(self, generator: np.random.Generator, images: int, losses: Sequence[float]) -> Iterator[Performance]:
        """Yield a model for each loss, all on the same new test images."""
        labels = np.arange(images) % len(self.recalls)
        places = generator.integers(0, _STEPS, images)
        slices = _slices(generator, places / _STEPS)
        for number, loss in enumerate(losses, 1):
            correct = generator.random(images) < self.difficulties(loss)[labels, places]
            yield _performance(f"version {number}", labels.astype(np.int32), correct, slices, len(self.recalls))


FASHION = Task(_FASHION, 0.035)
DIGITS = Task((0.995,) * 10, 0.005)
HARD = Task((0.9, 0.85, 0.8), 0.1)
TASKS = {"Fashion-MNIST, 93.5 %": FASHION, "digits, 99.5 %": DIGITS, "three classes, 85 %": HARD}


def _slices(generator: np.random.Generator, easiness: NDArray[np.float64]) -> Mapping[str, NDArray[np.bool_]]:
    images, found = len(easiness), dict[str, NDArray[np.bool_]]()
    for feature in range(_FEATURES):
        values = generator.random(images) + (easiness if feature == 0 else 0)
        place = np.argsort(np.argsort(values)) * _BINS // images
        found |= {f"{feature}.{part}": place == part for part in range(_BINS)}
    return {name: rows for name, rows in found.items() if rows.sum() >= 10}  # as few as evaluate's slices have


def _performance(
    name: str, labels: NDArray[np.int32], correct: NDArray[np.bool_], slices: Mapping[str, NDArray[np.bool_]], classes: int
) -> Performance:
    recalls = {str(label): float(correct[labels == label].mean()) for label in range(classes)}
    return Performance(
        name=name,
        labels=labels,
        correct=correct,
        recalls=recalls,
        calibration_error=0.02,
        slices={},
        baseline=None,
        seen=0,
        slice_rows=slices,
    )


def refused(limits: PromoteParams, new: Performance, past: Sequence[Performance]) -> list[str]:
    """Return the rules by which `new` is refused; `past` were in production, the last one still is."""
    *earlier, production = past
    best = max(earlier, key=lambda each: each.accuracy, default=None)
    if best is not None and best.accuracy <= production.accuracy:
        best = None
    rows = [
        *rules.against(limits, new, production, DataDrift("not simulated")),
        rules.against_best(limits, new, best, len(past), ""),
    ]
    return [row.rule for row in rows if row.verdict == "failed"]


def equal(limits: PromoteParams, seeds: int) -> list[dict[str, Any]]:
    """Return how many candidates are refused that are as good as all that were in production."""
    figures = []
    for name, task in TASKS.items():
        for images in IMAGES:
            for past in (1, 2, 5):
                counts: dict[str, int] = {}
                for seed in range(seeds):
                    *before, new = task.models(np.random.default_rng(seed), images, [0.0] * (past + 1))
                    failed = refused(limits, new, before)
                    for rule in [*failed, *(["any"] if failed else [])]:
                        counts[rule] = counts.get(rule, 0) + 1
                shares = {rule: round(100 * count / seeds, 1) for rule, count in counts.items()}
                figures.append(
                    {"set": name, "images": images, "past": past, "refused": shares.pop("any", 0.0), **_by_rule(shares)}
                )
                print(figures[-1], flush=True)
    return figures


def calibrated(limits: PromoteParams, seeds: int) -> list[dict[str, Any]]:
    """Return how many equally good and equally calibrated candidates are refused, by the rule of calibration and in all."""
    figures = []
    for name, task in TASKS.items():
        for images in IMAGES[:-1]:  # a bootstrap of 10,000 images takes seconds
            failed = [_refused_with_probabilities(limits, task, images, seed) for seed in range(seeds)]
            calibration = sum("calibration error increase" in each for each in failed)
            shares = {"refused": sum(map(bool, failed)), "calibration": calibration}
            rounded = {key: round(100 * count / seeds, 1) for key, count in shares.items()}
            figures.append({"set": name, "images": images, **rounded})
            print(figures[-1], flush=True)
    return figures


def _refused_with_probabilities(limits: PromoteParams, task: Task, images: int, seed: int) -> list[str]:
    """Return the rules by which a candidate is refused whose confidence, as production's, is its chance to be correct."""
    generator = np.random.default_rng(seed)
    old, new = task.models(generator, images, [0.0, 0.0])
    classes = len(task.recalls)
    confidence = task.difficulties(0.0)[old.labels, np.random.default_rng(seed).integers(0, _STEPS, images)]
    confidence = np.maximum(confidence, 1 / classes + 0.01)  # that of the most probable class
    predicted = [_probabilities(each, confidence, classes) for each in (old, new)]
    scored = [metrics.score(old.labels, each, _CALIBRATION_BINS).calibration for each in predicted]
    both = [replace(each, calibration_error=of.error) for each, of in zip((old, new), scored, strict=True)]
    a, b = zip(predicted, scored, strict=True)
    low = intervals.paired(old.labels, a, b)["calibration_error"].low
    rows = rules.against(limits, both[1], both[0], DataDrift("not simulated"), calibration_low=low)
    return [row.rule for row in rows if row.verdict == "failed"]


def _probabilities(model: Performance, confidence: NDArray[np.float64], classes: int) -> NDArray[np.float32]:
    """Return probabilities `(n, classes)`: `confidence` for the label, or for another class where the model is incorrect."""
    others = (1 - confidence) / (classes - 1)
    found = np.repeat(others[:, np.newaxis], classes, axis=1)
    found[np.arange(len(confidence)), np.where(model.correct, model.labels, (model.labels + 1) % classes)] = confidence
    return found.astype(np.float32)


def _by_rule(shares: Mapping[str, float]) -> dict[str, float]:
    short = {
        "not worse than production": "production",
        "not worse than the best so far": "best",
        "no class worse than production": "class",
        "no slice worse than production": "slice",
    }
    return {key: shares.get(rule, 0.0) for rule, key in short.items()}


def walk(limits: PromoteParams, seeds: int, tries: int, step: float, images: int = 10_000, steps: int = 8) -> dict[str, Any]:
    """Return at which step a walk down is stopped, each of `steps` steps being `step` worse, with so many `tries` each."""
    taken = []
    for seed in range(seeds):
        losses = [0.0, *(step * place for place in range(1, steps + 1) for _ in range(tries))]
        first, *others = FASHION.models(np.random.default_rng(seed), images, losses)
        past = [first]
        for place in range(steps):
            passed = (each for each in others[place * tries : (place + 1) * tries] if not refused(limits, each, past))
            if (new := next(passed, None)) is None:
                break
            past.append(new)
        taken.append(len(past) - 1)
    found = np.array(taken)
    figures = {
        "images": images,
        "step": 100 * step,
        "tries": tries,
        "walks": seeds,
        "second": round(100 * float(np.mean(found < 2)), 1),  # stopped at the first or the second step
        "third": round(100 * float(np.mean(found < 3)), 1),
        "lost": round(100 * step * float(found.mean()), 2),
        "most": round(100 * step * float(found.max()), 2),
    }
    print(figures, flush=True)
    return figures


def loss(limits: PromoteParams, seeds: int) -> list[dict[str, Any]]:
    """Return how large a loss is let through, against one version in production."""
    figures = []
    for name, task in TASKS.items():
        for images in IMAGES:
            losses = np.geomspace(0.001, 0.6, 40)
            passed = [_passed(limits, task, images, each, seeds) for each in losses]
            half, rare = (float(np.interp(-share, -np.array(passed), losses)) for share in (0.5, 0.05))
            figures.append({"set": name, "images": images, "half": round(100 * half, 1), "rare": round(100 * rare, 1)})
            print(figures[-1], flush=True)
    return figures


def _passed(limits: PromoteParams, task: Task, images: int, worse: float, seeds: int) -> float:
    kept = 0
    for seed in range(seeds):
        old, new = task.models(np.random.default_rng(seed), images, [0.0, worse])
        kept += not refused(limits, new, [old])
    return kept / seeds


def retrain(name: str, architecture: str, seeds: int) -> dict[str, Any]:
    """Return on which share of the test images just one of two models is correct that differ in the seed only."""
    from pipeline import environment

    environment.prepare()
    from pipeline.train import machine

    settings = params.load(Workspace.find().params).train
    settings = settings.model_copy(update={"architecture": architecture, "horizontal_flip": name.startswith("fashion")})
    machine.prepare(settings)
    data = small_data.load(name)
    correct = []
    for seed in range(1, seeds + 1):
        probabilities, _ = small_data.train(settings.model_copy(update={"seed": seed}), data, "test")
        correct.append(probabilities.argmax(axis=1) == data.test.labels)
    shares = [100 * float(np.mean(a != b)) for a, b in combinations(correct, 2)]
    spread = {"mean": round(float(np.mean(shares)), 2), "min": round(min(shares), 2), "max": round(max(shares), 2)}
    accuracy = round(100 * float(np.mean(correct)), 2)
    return {
        "set": name,
        "architecture": architecture,
        "images": len(data.test),
        "accuracy": accuracy,
        "discordant": spread,
    }


def main(part: str, what: Sequence[str], seeds: int) -> None:
    """Run one part and store its figures."""
    limits = params.load(Workspace.find().params).promote
    if part == "retrain":
        record("discordant", [retrain(what[0], what[1], seeds)], f"1-{seeds}")
    elif part == "walk":
        walks = [(20, 1, 0.004), *((seeds, tries, step) for tries in (1, 20) for step in (0.004, 0.003, 0.002))]
        record("promotion_walk", [walk(limits, *each) for each in walks], f"0-{seeds - 1}")
    else:
        record(
            f"promotion_{part}", {"equal": equal, "calibrated": calibrated, "loss": loss}[part](limits, seeds), f"0-{seeds - 1}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("retrain", "equal", "calibrated", "walk", "loss"))
    parser.add_argument("what", nargs="*", default=["digits", "default"])
    parser.add_argument("--seeds", type=int, default=1000)
    given = parser.parse_args()
    main(given.part, given.what, given.seeds)
