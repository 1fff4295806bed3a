"""Computes how often the 95 % intervals of scores/intervals.py hold the true value.

    .venv/bin/python -m benchmarks.intervals proportions | scores [--seeds N]

proportions  exactly, from the binomial distribution; beside them a percentile bootstrap of the same proportion
scores       simulated: a model that is sure of most of its predictions and makes few mistakes
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from benchmarks.measure import record
from pipeline.scores import intervals, metrics

IMAGES = (50, 100, 359, 1_000, 10_000)
ACCURACIES = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
_PER_DOUBLING = 40  # shares of mistakes
_CLASSES, _BINS = 10, 15
Ends = tuple[NDArray[np.float64], NDArray[np.float64]]


def coverage(ends: Ends, images: int, shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how often the interval holds each of `shares`; `ends` are those for 0, 1, … `images` hits."""
    low, high = ends
    first, last = np.searchsorted(high, shares), np.searchsorted(low, shares, side="right") - 1
    below = np.where(first > 0, binom.cdf(first - 1, images, shares), 0)
    return np.asarray(binom.cdf(last, images, shares) - below)


def bootstrap(images: int) -> Ends:
    """Return the interval of each number of hits as endlessly many resamples give it."""
    hits = np.arange(images + 1)
    low, high = (binom.ppf(level, images, hits / images) / images for level in (0.025, 0.975))
    return low, high


def proportions() -> list[dict[str, Any]]:
    """Return the coverage for each accuracy: the mean from half to twice its share of mistakes, and the least there."""
    figures = []
    for images in IMAGES:
        own = intervals.proportion(np.arange(images + 1), np.full(images + 1, images))
        for accuracy in ACCURACIES:
            around = 2.0 ** (np.arange(-_PER_DOUBLING, _PER_DOUBLING + 1) / _PER_DOUBLING)
            shares = (1 - accuracy) * around  # of mistakes: the intervals are symmetric
            found, other = coverage(own, images, shares), coverage(bootstrap(images), images, shares)
            figures.append(
                {
                    "images": images,
                    "accuracy": 100 * accuracy,
                    "own": {
                        "mean": round(100 * found.mean(), 1),
                        "min": round(100 * found.min(), 1),
                        "max": round(100 * found.max(), 1),
                    },
                    "bootstrap": {
                        "mean": round(100 * other.mean(), 1),
                        "min": round(100 * other.min(), 1),
                        "max": round(100 * other.max(), 1),
                    },
                }
            )
            print(figures[-1], flush=True)
    return figures


def predictions(generator: np.random.Generator, images: int, skill: float) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return labels, and probabilities of a model that gives the true class `skill` more in its logits, plus noise."""
    labels = generator.integers(0, _CLASSES, images).astype(np.int32)
    odds = np.exp(2 * generator.normal(size=(images, _CLASSES)) + skill * np.eye(_CLASSES)[labels])
    return labels, (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)


def scores(seeds: int) -> list[dict[str, Any]]:
    """Return the coverage of the intervals of the other scores."""
    figures = []
    for skill in (8.0, 11.0, 12.5):
        truth = _scores(*predictions(np.random.default_rng(10**6), 10**6, skill))
        for images in (50, 100, 359, 1_000):
            held = dict.fromkeys(truth, 0)
            for seed in range(seeds):
                labels, probabilities = predictions(np.random.default_rng(seed), images, skill)
                calibration = metrics.score(labels, probabilities, _BINS).calibration
                found = intervals.bootstrap(labels, probabilities, calibration)
                for name, value in truth.items():
                    held[name] += found[name].low <= value <= found[name].high
            shares = {name: round(100 * count / seeds, 1) for name, count in held.items()}
            figures.append({**shares, "images": images, "accuracy": round(100 * truth["accuracy"], 2)})
            print(figures[-1], flush=True)
    return figures


def _scores(labels: NDArray[np.int32], probabilities: NDArray[np.float32]) -> dict[str, float]:
    names = ("accuracy", "macro_f1", "weighted_f1", "log_loss", "brier")
    figures = metrics.score(labels, probabilities, _BINS).figures()
    return {name: figures[name] for name in names}


def main(part: str, seeds: int) -> None:
    """Run one part and store its figures."""
    parts: dict[str, Callable[[], list[dict[str, Any]]]] = {"proportions": proportions, "scores": lambda: scores(seeds)}
    record(f"intervals_of_{part}", parts[part](), f"0-{seeds - 1}" if part == "scores" else None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("proportions", "scores"))
    parser.add_argument("--seeds", type=int, default=300)
    given = parser.parse_args()
    main(given.part, given.seeds)
