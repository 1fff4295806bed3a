"""Where the time of a training step goes, and what share of the machine's matmul peak is reached.

    .venv/bin/python -m benchmarks.step_profile [ARCHITECTURE ...]

Each layer is timed alone, forwards and backwards, on its real input in a batch of the recipe's size (least of 20); below stand
the whole step, the gathering of a batch, which runs beside it, and a matrix product of 2048×2048, the machine's peak.
"""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pipeline import dataset, environment, params
from pipeline.dataset import Dataset
from pipeline.params import TrainParams
from pipeline.workspace import Workspace


def main(names: Sequence[str]) -> None:
    """Prints a table per architecture."""
    environment.prepare()
    from pipeline.train import machine

    workspace = Workspace.find()
    settings = params.load(workspace.params).train
    print(f"{machine.prepare(settings)} threads")
    data = dataset.read(workspace.need(workspace.dataset, "ingest"))
    for name in names:
        profile(settings.model_copy(update={"architecture": name}), data)


def profile(settings: TrainParams, data: Dataset) -> None:
    """Prints the layers, the step and the peak."""
    from pipeline.train import architectures, batches
    from pipeline.train.average import Average
    from pipeline.train.step import Step

    size = settings.recipe.batch_size
    model = architectures.build(settings, data.description.image_shape, data.description.classes)
    images, labels = next(batches.epoch_of(data.train, settings.recipe, 0, 0))
    step = Step(model, settings.recipe, Average(model, settings.recipe.ema))
    whole = least(lambda: step.train(images, labels, 0.01).numpy())
    gather = least(lambda: next(batches.epoch_of(data.train, settings.recipe, 0, 0)))
    peak = matmul_peak()
    work = 2 * size * sum(multiply_adds(layer) * passes(model, layer) for layer in model.layers)
    print(f"\n{settings.architecture}, batch {size}\n\n| layer | output | ms | of the step |\n|---|---|---|---|")
    x = images
    for layer in filter(lambda layer: layer.name != "images", model.layers):  # the input itself
        x = inputs_of(layer, x, model)
        seconds = least(both_ways(layer, x))
        print(f"| {layer.name} | {'×'.join(map(str, layer.output.shape[1:]))} | {seconds * 1e3:.2f} | {seconds / whole:.0%} |")
        x = layer(x, training=True)
    print(f"| **whole step** | | **{whole * 1e3:.2f}** | |")
    print(f"| gathering, beside | | {gather * 1e3:.2f} | {gather / whole:.0%} |")
    print(
        f"\n{work / 1e9:.2f} GFLOP per step: {work / whole / 1e9:.1f} GFLOP/s, {work / whole / peak:.0%} of the matmul peak of "
        f"{peak / 1e9:.0f} GFLOP/s; {size / whole:,.0f} images/s"
    )


def inputs_of(layer: Any, x: Any, model: Any) -> Any:
    """What `layer` takes: `x`, or pictures where the network branches or begins."""
    import tensorflow as tf

    if isinstance(layer.input, list):  # a sum: the same twice, for the time alone counts
        return [x, x]
    wanted = tuple(layer.input.shape[1:])
    return x if tuple(x.shape[1:]) == wanted else tf.random.normal((x.shape[0], *wanted), seed=len(model.name))


def both_ways(layer: Any, x: Any) -> Callable[[], Any]:
    """The layer forwards and, where it stands behind something that is trained, backwards."""
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
    """Of one picture, forwards."""
    kernel = getattr(layer, "kernel", None)
    return 0 if kernel is None else int(np.prod(layer.output.shape[1:-1]) * np.prod(kernel.shape))


def passes(model: Any, layer: Any) -> int:
    """Products of this size per step: forwards, by the weights, and by the input unless nothing before it is trained."""
    before = model.layers[: model.layers.index(layer)]
    return 1 + bool(layer.trainable_weights) + bool(layer.trainable_weights and any(each.trainable_weights for each in before))


def matmul_peak() -> float:
    """FLOP/s of a float32 product of two 2048×2048 matrices, the best of 20."""
    import tensorflow as tf

    side = 2048
    matrix = tf.random.normal((side, side), seed=1)
    product = tf.function(lambda: matrix @ matrix)
    return 2 * side**3 / least(lambda: product().numpy())


def least(run: Callable[[], Any]) -> float:
    """The least seconds of 20 calls, after a first one that compiles."""
    run()
    times = []
    for _ in range(20):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main(sys.argv[1:] or ["notebook", "sprint"])
