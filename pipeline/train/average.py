"""The exponential moving average of a model's weights, which generalises better than the last weights do."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class Average:
    """Follows every weight of a `keras.Model`, batch norm's moving statistics too.

    Source: Polyak and Juditsky 1992; as used here, Izmailov et al. 2018 (https://arxiv.org/abs/1803.05407) with a decay.
    """

    def __init__(self, model: Any, decay: float) -> None:
        import tensorflow as tf

        self._decay = decay
        self._weights = [weight.value for weight in (*model.trainable_variables, *_statistics(model))] if decay else []
        self.variables: Sequence[Any] = [tf.Variable(weight, trainable=False) for weight in self._weights]

    def update(self, steps: Any) -> None:
        """One step; call it inside the compiled step.

        Args:
            steps: Tensor or variable, how many there were, this one included. Early ones decay faster, by
                (1 + steps) / (10 + steps) as in `tf.train.ExponentialMovingAverage`: at 0.999 throughout, the weights that a
                training began with would still be 37 % of the average after 1,000 steps.
        """
        import tensorflow as tf

        done = tf.cast(steps, tf.float32)
        decay = tf.minimum((1 + done) / (10 + done), self._decay)
        for average, weight in zip(self.variables, self._weights, strict=True):
            average.assign(average * decay + weight * (1 - decay))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the averaged weights meanwhile, and its own again afterwards."""
        own = [weight.numpy() for weight in self._weights]
        self.apply()
        try:
            yield
        finally:
            for weight, value in zip(self._weights, own, strict=True):
                weight.assign(value)

    def apply(self) -> None:
        """Gives the model the averaged weights for good."""
        for weight, average in zip(self._weights, self.variables, strict=True):
            weight.assign(average)


def _statistics(model: Any) -> list[Any]:
    """What batch norm measured; the other untrained variables, seeds, cannot be averaged."""
    return [variable for variable in model.non_trainable_variables if "float" in str(variable.dtype)]
