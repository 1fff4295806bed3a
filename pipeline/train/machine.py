"""The machine as TensorFlow sees it: threads, seeds, determinism. Call it before anything is computed."""

import os

from pipeline import environment
from pipeline.params import TrainParams


def prepare(params: TrainParams) -> int:
    """Makes training repeatable: equal params, data and thread count give equal weights, bit for bit, on one machine.

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
