"""Where the time of a training step goes, and what share of the machine's matmul peak is reached.

    .venv/bin/python -m benchmarks.step_profile [ARCHITECTURE ...]

Each layer is timed alone, forward and backward, on its real input in a batch of the recipe's size (shortest of 20); then the
whole step, the gathering of a batch, which runs in parallel, and a matrix product of 2048×2048, the machine's peak.
"""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.measure import ready_to_train, record
from pipeline.dataset import Dataset
from pipeline.params import TrainParams


def main(names: Sequence[str]) -> None:
    """Measure, print and store the parts per architecture."""
    settings, data, threads = ready_to_train()
    print(f"{threads} threads")
    figures = []
    for name in names:
        figures += profile(settings.model_copy(update={"architecture": name}), data)
        print(f"\n{name}")
        for each in figures:
            if each["architecture"] == name:
                print("  ".join(f"{key} {value}" for key, value in each.items() if key != "architecture"))
    record("step_profile", figures)


def profile(settings: TrainParams, data: Dataset) -> list[dict[str, Any]]:
    """Return the time of the layers, of gathering and of the step, the last with its share of the peak."""
    from pipeline.train import architectures
    from pipeline.train.augment import batches
    from pipeline.train.recipe import recipe_of
    from pipeline.train.step import Average, Step

    recipe = recipe_of(settings)
    size = recipe.batch_size
    model = architectures.build(settings, data.description.image_shape, data.description.classes)
    images, labels = next(batches(data.train, recipe, 0, 0))
    step = Step(model, recipe, Average(model, recipe.ema))
    whole = shortest(lambda: step.train(images, labels, 0.01).numpy())
    gather = shortest(lambda: next(batches(data.train, recipe, 0, 0)))
    peak = matmul_peak()
    work = 2 * size * sum(multiply_adds(layer) * passes(model, layer) for layer in model.layers)
    times = {}
    x = images
    for layer in filter(lambda layer: layer.name != "images", model.layers):  # the input itself
        x = inputs_of(layer, x, model)
        times[layer.name] = shortest(both_ways(layer, x))
        x = layer(x, training=True)
    times |= {"gathering the next batch, in parallel": gather, "whole step": whole}
    figures: list[dict[str, Any]] = [
        {"architecture": settings.architecture, "part": part, "milliseconds": round(1e3 * seconds, 2)}
        for part, seconds in times.items()
    ]
    speed = {"gflops": work / whole / 1e9, "peak": 100 * work / whole / peak, "images_per_second": size / whole}
    figures[-1] |= {key: round(value, 1) for key, value in speed.items()}
    return figures


def inputs_of(layer: Any, x: Any, model: Any) -> Any:
    """Return the input of `layer`: `x`, or noise where the network branches or begins."""
    import tensorflow as tf

    if isinstance(layer.input, list):  # a sum: the same twice, since only time counts
        return [x, x]
    wanted = tuple(layer.input.shape[1:])
    return x if tuple(x.shape[1:]) == wanted else tf.random.normal((x.shape[0], *wanted), seed=len(model.name))


def both_ways(layer: Any, x: Any) -> Callable[[], Any]:
    """Return a call of the layer forward and, if it is trained, backward."""
    import tensorflow as tf

    @tf.function  # type: ignore[untyped-decorator]
    def run(x: Any) -> Any:
        with tf.GradientTape() as tape:
            floats = [tensor for tensor in tf.nest.flatten(x) if tensor.dtype.is_floating]
            tape.watch(floats)
            y = layer(x, training=True)
        weights = [weight.value for weight in layer.trainable_weights]
        return y, tape.gradient(y, [*floats, *weights]) if layer.trainable else ()

    tensors = tf.nest.map_structure(tf.convert_to_tensor, x)
    return lambda: run(tensors)


def multiply_adds(layer: Any) -> int:
    """Return the multiply-adds of one image, forward."""
    kernel = getattr(layer, "kernel", None)
    return 0 if kernel is None else int(np.prod(layer.output.shape[1:-1]) * np.prod(kernel.shape))


def passes(model: Any, layer: Any) -> int:
    """Return the products of this size per step: forward, by the weights, and by the input if anything before it is trained."""
    before = model.layers[: model.layers.index(layer)]
    return 1 + bool(layer.trainable_weights) + bool(layer.trainable_weights and any(each.trainable_weights for each in before))


def matmul_peak() -> float:
    """Return the FLOP/s of a float32 product of two 2048×2048 matrices, the best of 20."""
    import tensorflow as tf

    side = 2048
    matrix = tf.random.normal((side, side), seed=1)
    product = tf.function(lambda: matrix @ matrix)
    return 2 * side**3 / shortest(lambda: product().numpy())


def shortest(run: Callable[[], Any]) -> float:
    """Return the shortest of 20 calls, after a first one that compiles."""
    run()
    times = []
    for _ in range(20):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main(sys.argv[1:] or ["notebook", "sprint"])
