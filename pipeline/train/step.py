"""One step of training and of validation, compiled; on several GPUs each takes its share of the batch."""

from typing import Any

from numpy.typing import NDArray

from pipeline.params import Recipe
from pipeline.train.average import Average


class Step:
    """Loss, gradients, optimizer and average of one batch.

    An own step, for `strategy.run` works where Keras' `fit` does not (several workers), and because `fit` cannot begin at any
    epoch with all of its state.
    """

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
        self._validate = tf.function(self._sums, input_signature=[pixels, tf.TensorSpec((None,), tf.int32)])

    def train(self, images: NDArray[Any], labels: NDArray[Any], rate: float) -> Any:
        """Takes one step with the learning rate `rate`.

        Returns:
            Tensor float32 `(2,)`: sum of the losses (of smoothed labels), number of right answers; both before the step.
        """
        import tensorflow as tf

        parts = self._strategy.num_replicas_in_sync
        if parts == 1:
            return self._train(tf.constant(images), tf.constant(labels), tf.constant(rate, tf.float32))
        spread = self._strategy.experimental_distribute_values_from_function
        own_images = spread(lambda context: tf.constant(images[context.replica_id_in_sync_group :: parts]))
        own_labels = spread(lambda context: tf.constant(labels[context.replica_id_in_sync_group :: parts]))
        return self._train(own_images, own_labels, tf.constant(rate, tf.float32))

    def validate(self, images: NDArray[Any], labels: NDArray[Any]) -> Any:
        """Tensor float32 `(2,)`: sum of the cross-entropies, number of right answers, of the model as it predicts."""
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

    def _sums(self, images: Any, labels: Any) -> Any:
        return _sums(self._model(images, training=False), labels, 0.0)


def _sums(logits: Any, labels: Any, smoothing: float) -> Any:
    import tensorflow as tf

    classes = logits.shape[-1]
    wanted = tf.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes
    losses = tf.nn.softmax_cross_entropy_with_logits(wanted, logits)
    right = tf.equal(tf.argmax(logits, -1, output_type=labels.dtype), labels)
    return tf.stack([tf.reduce_sum(losses), tf.reduce_sum(tf.cast(right, tf.float32))])


def _optimizer(recipe: Recipe) -> Any:
    """Keras' optimizer, with decoupled weight decay on kernels only (Loshchilov and Hutter 2017, arxiv.org/abs/1711.05101)."""
    from keras import optimizers

    decay = recipe.weight_decay or None
    match recipe.optimizer:
        case "sgd":
            made = optimizers.SGD(recipe.learning_rate, recipe.momentum, nesterov=recipe.momentum > 0, weight_decay=decay)
        case "adam":
            made = optimizers.Adam(recipe.learning_rate, weight_decay=decay)
    made.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return made
