"""One compiled step of training and of validation, on one or several devices, and the moving average of the weights."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from pipeline.params import Recipe


class Average:
    """The exponential moving average of a model's weights and batch norm statistics, which generalises better than they do.

    Source: Polyak and Juditsky 1992; as used here, Izmailov et al. 2018 (https://arxiv.org/abs/1803.05407) with a decay.
    """

    def __init__(self, model: Any, decay: float) -> None:
        import tensorflow as tf

        # Of the untrained variables only batch norm's statistics are floats; the others, seeds, cannot be averaged.
        statistics = [variable for variable in model.non_trainable_variables if "float" in str(variable.dtype)]
        self._decay = decay
        self._weights = [weight.value for weight in (*model.trainable_variables, *statistics)] if decay else []
        self.variables: Sequence[Any] = [tf.Variable(weight, trainable=False) for weight in self._weights]

    def update(self, steps: Any) -> None:
        """Follow the weights inside the compiled step; `steps`, a tensor or variable, counts the steps including this one.

        Early steps decay faster, by (1 + steps) / (10 + steps) as in `tf.train.ExponentialMovingAverage`: with a constant
        0.999, the initial weights would still be 37 % of the average after 1,000 steps.
        """
        import tensorflow as tf

        done = tf.cast(steps, tf.float32)
        decay = tf.minimum((1 + done) / (10 + done), self._decay)
        for average, weight in zip(self.variables, self._weights, strict=True):
            average.assign(average * decay + weight * (1 - decay))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the model the averaged weights for the duration of the block."""
        own = [weight.numpy() for weight in self._weights]
        self.apply()
        try:
            yield
        finally:
            for weight, value in zip(self._weights, own, strict=True):
                weight.assign(value)

    def apply(self) -> None:
        """Give the model the averaged weights for good."""
        for weight, average in zip(self._weights, self.variables, strict=True):
            weight.assign(average)


class Step:
    """Loss, gradients, optimizer and average of one batch; several GPUs each take their share of it."""

    def __init__(self, model: Any, recipe: Recipe, average: Average) -> None:
        import tensorflow as tf

        self._strategy = tf.distribute.get_strategy()
        self._model = model
        self._recipe = recipe
        self._average = average
        self.optimizer = _optimizer(recipe)
        self.optimizer.build(model.trainable_variables)
        self._train = tf.function(self._on_all)
        pixels = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8)
        self._validate = tf.function(self._predict, input_signature=[pixels, tf.TensorSpec((None,), tf.int32)])

    def train(self, images: NDArray[Any], labels: NDArray[Any], rate: float) -> Any:
        """Take one step with the learning rate `rate`; return, from before it, the tensor float32 `(2,)` that `_sums` makes."""
        import tensorflow as tf

        parts = self._strategy.num_replicas_in_sync
        if parts == 1:
            return self._train(tf.constant(images), tf.constant(labels), tf.constant(rate, tf.float32))
        spread = self._strategy.experimental_distribute_values_from_function
        own_images = spread(lambda context: tf.constant(images[context.replica_id_in_sync_group :: parts]))
        own_labels = spread(lambda context: tf.constant(labels[context.replica_id_in_sync_group :: parts]))
        return self._train(own_images, own_labels, tf.constant(rate, tf.float32))

    def validate(self, images: NDArray[Any], labels: NDArray[Any]) -> Any:
        """Return the tensor float32 `(2,)` that `_sums` makes of the cross-entropies, in inference mode."""
        return self._validate(images, labels)

    def _on_all(self, images: Any, labels: Any, rate: Any) -> Any:
        self.optimizer.learning_rate.assign(rate)
        sums = self._strategy.run(self._on_one, args=(images, labels))
        self._average.update(self.optimizer.iterations)
        return self._strategy.reduce("SUM", sums, axis=None)

    def _on_one(self, images: Any, labels: Any) -> Any:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            logits = self._model(images, training=True)
            sums = _sums(logits, labels, self._recipe.label_smoothing)
            loss = sums[0] / self._recipe.batch_size
        weights = self._model.trainable_variables
        self.optimizer.apply(tape.gradient(loss, [weight.value for weight in weights]), weights)
        return sums

    def _predict(self, images: Any, labels: Any) -> Any:
        return _sums(self._model(images, training=False), labels, 0.0)


def _sums(logits: Any, labels: Any, smoothing: float) -> Any:
    """Return the tensor float32 `(2,)`: sum of the losses and number of correct predictions."""
    import tensorflow as tf

    classes = logits.shape[-1]
    target = tf.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes
    losses = tf.nn.softmax_cross_entropy_with_logits(target, logits)
    correct = tf.equal(tf.argmax(logits, -1, output_type=labels.dtype), labels)
    return tf.stack([tf.reduce_sum(losses), tf.reduce_sum(tf.cast(correct, tf.float32))])


def _optimizer(recipe: Recipe) -> Any:
    """Return the optimizer, its weight decay on kernels only and decoupled (Loshchilov 2017, arxiv.org/abs/1711.05101)."""
    from keras import optimizers

    decay = recipe.weight_decay or None
    match recipe.optimizer:
        case "sgd":
            made = optimizers.SGD(recipe.learning_rate, recipe.momentum, nesterov=recipe.momentum > 0, weight_decay=decay)
        case "adam":
            made = optimizers.Adam(recipe.learning_rate, weight_decay=decay)
    made.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return made
