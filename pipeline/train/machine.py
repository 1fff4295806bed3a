"""The machine as TensorFlow sees it: threads, seeds, determinism, devices, and the speed of its arithmetic."""

import os
import sys
import timeit
from typing import Any

from pipeline import environment
from pipeline.params import TrainParams
from pipeline.train.recipe import recipe_of


def prepare(params: TrainParams) -> int:
    """Make training repeatable, bit for bit on one machine; call it first. Return the number of CPU threads."""
    environment.load_tensorflow()
    import keras
    import tensorflow as tf

    # The cores that this process may use: a container can allow fewer than the machine has.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = params.threads or cores
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    if not tf.config.list_physical_devices("GPU"):  # costs nothing measurable on a CPU; some GPU kernels lack it
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(params.seed)
    return threads


def strategy() -> Any:
    """Return the `tf.distribute.Strategy`: over all GPUs if there are several, else the default."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy() if len(tf.config.list_logical_devices("GPU")) > 1 else tf.distribute.get_strategy()


def warn_if_slow(params: TrainParams) -> None:
    """Print a line if this processor is slower in the recipe's precision than in float32, with the factor measured here."""
    precision = recipe_of(params).precision
    if precision == "float32":
        return
    factor = _seconds(precision) / _seconds("float32")
    if factor > 1:
        print(
            f"warning: train.recipes.{params.architecture}.precision {precision}: a convolution takes "
            f"{factor:.1f} times as long here as in float32: set float32",
            file=sys.stderr,
            flush=True,
        )


def _seconds(precision: str) -> float:
    """Return the shortest of five times of a forward convolution of 64 images of 14×14×64."""
    import tensorflow as tf

    images, kernel = tf.ones((64, 14, 14, 64), precision), tf.ones((3, 3, 64, 64), precision)
    convolve = tf.function(lambda: tf.nn.conv2d(images, kernel, 1, "SAME"))
    convolve()
    return min(timeit.repeat(lambda: convolve().numpy(), number=1, repeat=5))
