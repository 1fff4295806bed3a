"""The machine as TensorFlow sees it: threads, seeds, determinism, devices, and what its arithmetic is good at."""

import os
import sys
import time
from typing import Any

from pipeline import environment
from pipeline.params import TrainParams


def prepare(params: TrainParams) -> int:
    """Makes training repeatable: equal params, data and thread count give equal weights, bit for bit, on one machine.

    Call it before anything is computed.

    Returns:
        The number of CPU threads in use.
    """
    environment.load_tensorflow()
    import keras
    import tensorflow as tf

    threads = params.threads or _cores()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    if not tf.config.list_physical_devices("GPU"):  # costs nothing measurable on a CPU; some GPU kernels lack it
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(params.seed)
    return threads


def _cores() -> int:
    """Cores this process may use, which a container can make fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def strategy() -> Any:
    """How a step is spread, a `tf.distribute.Strategy`: over all GPUs where there are several, else not at all."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy() if len(tf.config.list_logical_devices("GPU")) > 1 else tf.distribute.get_strategy()


def warn_if_emulated(params: TrainParams) -> None:
    """One line if this processor is slower in the recipe's precision than in float32, with the factor measured here."""
    if params.recipe.precision == "float32":
        return
    factor = _seconds(params.recipe.precision) / _seconds("float32")
    if factor > 1:
        print(
            f"warning: train.recipes.{params.architecture}.precision {params.recipe.precision}: a convolution takes "
            f"{factor:.1f} times as long here as in float32: set float32",
            file=sys.stderr,
            flush=True,
        )


def _seconds(precision: str) -> float:
    """The least of five times of a convolution of 64 pictures of 14×14×64, forwards."""
    import tensorflow as tf

    images, kernel = tf.ones((64, 14, 14, 64), precision), tf.ones((3, 3, 64, 64), precision)
    convolve = tf.function(lambda: tf.nn.conv2d(images, kernel, 1, "SAME"))
    convolve()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        convolve().numpy()
        times.append(time.perf_counter() - start)
    return min(times)
