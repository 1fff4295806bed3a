"""The networks by name, in plain Keras. Each takes uint8 pictures: rescaling is inside, so a model needs nothing beside it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pipeline.errors import TrainingError
from pipeline.params import Recipe, TrainParams
from pipeline.train import whitening

Shape = tuple[int, int, int]


def build(params: TrainParams, shape: Shape, classes: int, precision: str | None = None) -> Any:
    """The untrained network `params.architecture`, a `keras.Model` from uint8 `(n, *shape)` to logits float32 `(n, classes)`.

    Args:
        params: Architecture, recipe and seed.
        shape: Height, width, channels.
        classes: How many.
        precision: Of the arithmetic; the recipe's if not given. The weights are float32 in any case.

    Raises:
        TrainingError: pictures of this shape are too small for it.
    """
    architecture, smallest = _ARCHITECTURES[params.architecture]
    if min(shape[:2]) < smallest:
        raise TrainingError(
            f"train.architecture {params.architecture} takes pictures of {smallest}×{smallest} pixels at least, "
            f"these are {shape[0]}×{shape[1]}: raise ingest.image_size"
        )
    with _arithmetic(precision or params.recipe.precision):
        return architecture(params.recipe, params.seed, shape, classes)


def classifier(network: Any, flip_averaging: bool) -> Any:
    """What is saved: `network` as a `keras.Model` from uint8 pictures to probabilities, plain Keras throughout.

    Args:
        network: As `build` gives it, in float32.
        flip_averaging: The mean of the log-probabilities of an image and its horizontal flip, rather than of the image alone.
    """
    from keras import Input, Model, layers, ops

    images = Input(network.input_shape[1:], dtype="uint8", name="images")
    scores = network(images)
    if flip_averaging:
        both = [ops.log_softmax(each) for each in (scores, network(ops.flip(images, axis=2)))]
        scores = layers.Average(name="flip_averaging")(both)
    return Model(images, layers.Softmax(name="probabilities")(scores), name=f"{network.name}_classifier")


@contextmanager
def _arithmetic(precision: str) -> Iterator[None]:
    """Layers made meanwhile compute in `precision`."""
    from keras import config

    before = config.dtype_policy()
    config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    try:
        yield
    finally:
        config.set_dtype_policy(before)


def _notebook(recipe: Recipe, seed: int, shape: Shape, classes: int) -> Any:
    """The CNN of the well-known notebook: 225,034 parameters and 2.6 million multiply-adds at 28×28×1."""
    from keras import Sequential, layers

    return Sequential(
        [
            layers.Input(shape, dtype="uint8", name="images"),
            layers.Rescaling(1 / 255, name="rescaling"),
            layers.Conv2D(32, 3, activation="relu", name="conv_1"),
            layers.MaxPooling2D(name="pool_1"),
            layers.Conv2D(64, 3, activation="relu", name="conv_2"),
            layers.MaxPooling2D(name="pool_2"),
            layers.Flatten(name="flatten"),
            layers.Dense(128, activation="relu", name="dense"),
            layers.Dropout(recipe.dropout, seed=seed, name="dropout"),
            layers.Dense(classes, dtype="float32", name="logits"),
        ],
        name="notebook",
    )


def _sprint(recipe: Recipe, seed: int, shape: Shape, classes: int) -> Any:
    """Least time to the notebook's accuracy: 34,058 trained parameters and 0.6 million multiply-adds at 28×28×1.

    The first layer is measured, not learned, so no gradient is computed at the resolution where it would cost most. Strides
    instead of pooling were more accurate (Springenberg et al. 2014, https://arxiv.org/abs/1412.6806).
    """
    from keras import layers

    images, x = _whitened(shape, 18, size=3)
    x = _unit(x, 32, stride=2)
    x = _unit(x, 64, stride=2)
    return _output("sprint", images, layers.Flatten(name="flatten")(x), recipe, seed, classes)


def _compact(recipe: Recipe, seed: int, shape: Shape, classes: int) -> Any:
    """Under 100,000 parameters: 97,514, and 10.0 million multiply-adds at 28×28×1.

    A residual network (He et al. 2015, https://arxiv.org/abs/1512.03385) that works at half of the resolution, where each
    weight is used most. It ends in a mean over the picture that learns, channel by channel, which places count (the global
    depthwise convolution of MobileFaceNets, Chen et al. 2018, https://arxiv.org/abs/1804.07573): where pictures are centred,
    where something lies tells what it is.
    """
    from keras import initializers, layers

    images, x = _whitened(shape, 32, size=4)
    x = _residual(_residual(x))
    x = _unit(x, 64, stride=2)
    x = _unit(x, 64)
    height, width = x.shape[1:3]
    mean = initializers.Constant(1 / (height * width))
    x = layers.DepthwiseConv2D((height, width), use_bias=False, depthwise_initializer=mean, name="weighted_mean")(x)
    return _output("compact", images, layers.Flatten(name="flatten")(x), recipe, seed, classes)


def _default(recipe: Recipe, seed: int, shape: Shape, classes: int) -> Any:
    """The most accuracy in the notebook's time: 154,698 trained parameters and 4.8 million multiply-adds at 28×28×1.

    `sprint`, wider, with a convolution more before each but the last stride. 16 filters, not 18, in front: so many fill whole
    vectors, and a step takes 5 % less.
    """
    from keras import layers

    images, x = _whitened(shape, 16, size=3)
    x = _unit(x, 32)
    x = _unit(x, 64, stride=2)
    x = _unit(x, 64)
    x = _unit(x, 128, stride=2)
    return _output("default", images, layers.Flatten(name="flatten")(x), recipe, seed, classes)


def _large(recipe: Recipe, seed: int, shape: Shape, classes: int) -> Any:
    """For a GPU: WRN-40-4 (Zagoruyko and Komodakis 2016, https://arxiv.org/abs/1605.07146).

    8.9 million parameters and 1 billion multiply-adds at 28×28×1; published for Fashion-MNIST: 96.7 %.
    """
    from keras import Input, layers

    images = Input(shape, dtype="uint8", name="images")
    x = _convolution(layers.Rescaling(1 / 255, name="rescaling")(images), 16)
    for filters, stride in ((64, 1), (128, 2), (256, 2)):
        x = _wide(x, filters, stride)
        for _ in range(5):
            x = _wide(x, filters)
    return _output("large", images, layers.GlobalAveragePooling2D(name="mean")(_activated(x)), recipe, seed, classes)


def _whitened(shape: Shape, filters: int, size: int) -> tuple[Any, Any]:
    """The pictures, and frozen features of their patches at half the resolution, whose weights `whitening.measure` sets."""
    from keras import Input, layers

    images = Input(shape, dtype="uint8", name="images")
    x = layers.Rescaling(1 / 255, name="rescaling")(images)
    x = layers.Conv2D(filters, size, 2, "same", activation="relu", trainable=False, name=whitening.LAYER)(x)
    return images, x


def _convolution(x: Any, filters: int, size: int = 3, stride: int = 1) -> Any:
    """Without bias, for batch norm follows; begins as He et al. 2015 say (https://arxiv.org/abs/1502.01852)."""
    from keras import layers

    return layers.Conv2D(filters, size, stride, "same", use_bias=False, kernel_initializer="he_normal")(x)


def _normalised(x: Any) -> Any:
    """Batch norm (Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167)."""
    from keras import layers

    return layers.BatchNormalization(momentum=0.9)(x)  # Keras' 0.99 lags behind a training of few steps


def _activated(x: Any) -> Any:
    from keras import layers

    return layers.ReLU()(_normalised(x))


def _unit(x: Any, filters: int, stride: int = 1) -> Any:
    return _activated(_convolution(x, filters, stride=stride))


def _residual(x: Any) -> Any:
    """Two convolutions beside the identity, activated after the sum."""
    from keras import layers

    filters = x.shape[-1]
    return layers.ReLU()(layers.Add()([x, _normalised(_convolution(_unit(x, filters), filters))]))


def _wide(x: Any, filters: int, stride: int = 1) -> Any:
    """Two convolutions, each activated before, beside the identity, or a projection where the shape changes."""
    from keras import layers

    before = _activated(x)
    same = x.shape[-1] == filters and stride == 1
    beside = x if same else _convolution(before, filters, size=1, stride=stride)
    return layers.Add()([beside, _convolution(_activated(_convolution(before, filters, stride=stride)), filters)])


def _output(name: str, images: Any, x: Any, recipe: Recipe, seed: int, classes: int) -> Any:
    """The model from `images` to logits, by dropout and a dense layer."""
    from keras import Model, layers

    x = layers.Dropout(recipe.dropout, seed=seed, name="dropout")(x)
    return Model(images, layers.Dense(classes, dtype="float32", name="logits")(x), name=name)


# Name → (builder, smallest height and width in pixels).
_ARCHITECTURES: Mapping[str, tuple[Callable[[Recipe, int, Shape, int], Any], int]] = {
    "notebook": (_notebook, 10),
    "sprint": (_sprint, 8),
    "compact": (_compact, 8),
    "default": (_default, 8),
    "large": (_large, 8),
}
