"""The networks by name, in plain Keras. Each takes uint8 images and rescales them itself, so a saved model stands alone.

They were designed for 28×28 pixels. From 40 pixels on, strided convolutions behind the first layer bring larger images to about
the same resolution: cost grows slowly, and a feature sees as large a part of the image. The features are then averaged over the
image, as they are in the same place less often. benchmarks/RESULTS.md compares. The notebook, the baseline, stays as it was.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import TrainingError
from pipeline.params import Recipe, TrainParams
from pipeline.train.recipe import recipe_of

Shape = tuple[int, int, int]
WHITENING = "whitening"
_PATCHES = 845_000  # those of 5,000 images at 28×28; far fewer do, but more cost little
_DESIGNED = 28  # pixels: side of the images that the networks were designed for
_FLOOR = 1e-3  # of the largest variance: weaker directions are noise and are not amplified


def build(params: TrainParams, shape: Shape, classes: int, precision: str | None = None) -> Any:
    """Return the untrained network, a `keras.Model` from uint8 `(n, *shape)` to logits float32 `(n, classes)`.

    `precision` (default: the recipe's) is that of the arithmetic; weights are float32 in any case.

    Raises:
        TrainingError: images of this shape are too small for it.
    """
    architecture, smallest = _ARCHITECTURES[params.architecture]
    if min(shape[:2]) < smallest:
        raise TrainingError(
            f"train.architecture {params.architecture} needs images of at least {smallest}×{smallest} pixels, "
            f"these are {shape[0]}×{shape[1]}: raise ingest.image_size"
        )
    recipe = recipe_of(params)
    with _arithmetic(precision or recipe.precision):
        return architecture(recipe, params.seed, shape, classes)


def classifier(network: Any, flip_averaging: bool) -> Any:
    """Return the model to save: `network` (in float32) from uint8 images to probabilities, plain Keras throughout.

    With `flip_averaging` the log-probabilities are averaged over an image and its horizontal flip.
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
    """Make layers built inside compute in `precision`."""
    from keras import config

    before = config.dtype_policy()
    config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    try:
        yield
    finally:
        config.set_dtype_policy(before)


def _notebook(recipe: Recipe, seed: int, shape: Shape, classes: int) -> Any:
    """Build the CNN of a well-known tutorial notebook: 225,034 parameters and 2.6 million multiply-adds at 28×28×1."""
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
    """Reach the notebook's accuracy in the least time: 34,058 trained parameters, 0.6 million multiply-adds at 28×28×1.

    The frozen first layer needs no gradient at the most expensive resolution. Strides were more accurate than pooling
    (Springenberg et al. 2014, https://arxiv.org/abs/1412.6806).
    """
    images, x = _whitened(shape, 18, size=3)
    x = _unit(x, 32, stride=2)
    x = _unit(x, 64, stride=2)
    return _output("sprint", images, _pooled(x, shape), recipe, seed, classes)


def _compact(recipe: Recipe, seed: int, shape: Shape, classes: int) -> Any:
    """Build a network under 100,000 parameters: 97,514, and 10.0 million multiply-adds at 28×28×1.

    A residual network (He et al. 2015, https://arxiv.org/abs/1512.03385) at half the resolution, where each weight is used
    most; larger images need 9,344 parameters more each time the side doubles. It ends in a weighted mean over the image,
    learned per channel (the global depthwise convolution of MobileFaceNets, Chen et al. 2018,
    https://arxiv.org/abs/1804.07573): in centred images, position is evidence.
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
    """Reach the most accuracy in the notebook's time: 154,698 trained parameters, 4.8 million multiply-adds at 28×28×1.

    A wider `sprint` with more convolutions. 16 instead of 18 filters in the first layer fill whole vectors: 5 % less per step.
    """
    images, x = _whitened(shape, 16, size=3)
    x = _unit(x, 32)
    x = _unit(x, 64, stride=2)
    x = _unit(x, 64)
    x = _unit(x, 128, stride=2)
    return _output("default", images, _pooled(x, shape), recipe, seed, classes)


def _large(recipe: Recipe, seed: int, shape: Shape, classes: int) -> Any:
    """Build a network for a GPU: WRN-40-4 (Zagoruyko and Komodakis 2016, https://arxiv.org/abs/1605.07146).

    8.9 million parameters and 1 billion multiply-adds at 28×28×1; published for Fashion-MNIST: 96.7 %.
    """
    from keras import Input, layers

    images = Input(shape, dtype="uint8", name="images")
    x = _convolution(layers.Rescaling(1 / 255, name="rescaling")(images), 16)
    for _ in range(_halvings(shape)):
        x = _convolution(_activated(x), 32, stride=2)
    for filters, stride in ((64, 1), (128, 2), (256, 2)):
        x = _wide(x, filters, stride)
        for _ in range(5):
            x = _wide(x, filters)
    return _output("large", images, layers.GlobalAveragePooling2D(name="mean")(_activated(x)), recipe, seed, classes)


def _halvings(shape: Shape) -> int:
    """Return how often to halve the resolution of images beyond 28×28 pixels: 0 below 40×40, 1 below 80×80."""
    return max(0, round(math.log2(math.sqrt(shape[0] * shape[1]) / _DESIGNED)))


def _whitened(shape: Shape, filters: int, size: int) -> tuple[Any, Any]:
    """Return the input and its features at about 14×14: a frozen convolution, whose weights `whiten` sets, and strided ones."""
    from keras import Input, layers

    images = Input(shape, dtype="uint8", name="images")
    x = layers.Rescaling(1 / 255, name="rescaling")(images)
    x = layers.Conv2D(filters, size, 2, "same", activation="relu", trainable=False, name=WHITENING)(x)
    for _ in range(_halvings(shape)):
        x = _unit(x, filters, stride=2)
    return images, x


def _pooled(x: Any, shape: Shape) -> Any:
    """Return all features of `x`, or their means over the image where it is larger than the network was designed for."""
    from keras import layers

    return (layers.GlobalAveragePooling2D(name="mean") if _halvings(shape) else layers.Flatten(name="flatten"))(x)


def _convolution(x: Any, filters: int, size: int = 3, stride: int = 1) -> Any:
    """Convolve without bias, since batch norm follows; initialised as in He et al. 2015 (https://arxiv.org/abs/1502.01852)."""
    from keras import layers

    return layers.Conv2D(filters, size, stride, "same", use_bias=False, kernel_initializer="he_normal")(x)


def _normalised(x: Any) -> Any:
    """Apply batch norm (Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167)."""
    from keras import layers

    return layers.BatchNormalization(momentum=0.9)(x)  # Keras' 0.99 lags behind a training of few steps


def _activated(x: Any) -> Any:
    from keras import layers

    return layers.ReLU()(_normalised(x))


def _unit(x: Any, filters: int, stride: int = 1) -> Any:
    return _activated(_convolution(x, filters, stride=stride))


def _residual(x: Any) -> Any:
    """Add two convolutions to the identity, then activate."""
    from keras import layers

    filters = x.shape[-1]
    return layers.ReLU()(layers.Add()([x, _normalised(_convolution(_unit(x, filters), filters))]))


def _wide(x: Any, filters: int, stride: int = 1) -> Any:
    """Add two pre-activated convolutions to the identity, or to a projection where the shape changes."""
    from keras import layers

    before = _activated(x)
    same = x.shape[-1] == filters and stride == 1
    shortcut = x if same else _convolution(before, filters, size=1, stride=stride)
    return layers.Add()([shortcut, _convolution(_activated(_convolution(before, filters, stride=stride)), filters)])


def _output(name: str, images: Any, x: Any, recipe: Recipe, seed: int, classes: int) -> Any:
    """Return the model from `images` through dropout and a dense layer to logits."""
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


def whiten(model: Any, images: NDArray[np.uint8], seed: int) -> None:
    """Set the layer WHITENING of `model`, if it has one, to filters that decorrelate the patches of `images`.

    The layer is computed from the data instead of learned: no gradients at the most expensive resolution, and the layers
    behind it learn faster. Source: Jordan 2024, https://arxiv.org/abs/2404.00498, section 3.2; as there, each filter comes
    with its negative, so that ReLU loses nothing.
    `images` is uint8 `(n, h, w, c)`; `seed` chooses those whose patches are used.
    """
    if WHITENING not in [layer.name for layer in model.layers]:
        return
    layer = model.get_layer(WHITENING)
    size, filters = layer.kernel_size[0], layer.filters
    stride = layer.strides[0]
    each = math.prod((side - size) // stride + 1 for side in images.shape[1:3])
    rows = np.sort(np.random.default_rng(seed).permutation(len(images))[: max(1, _PATCHES // each)])
    kernel, bias = _whitening_filters(_patches(images[rows], size, stride), filters // 2)
    layer.set_weights([kernel.reshape(size, size, images.shape[3], filters), bias])


def _patches(images: NDArray[np.uint8], size: int, stride: int) -> NDArray[np.float32]:
    """Return the patches that lie inside the images, float32 `(patches, size * size * c)`, 0-1."""
    windows = np.lib.stride_tricks.sliding_window_view(images, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    ordered = windows.transpose(0, 1, 2, 4, 5, 3)  # (n, rows, columns, size, size, c): the order of a kernel
    return ordered.reshape(-1, size * size * images.shape[3]).astype(np.float32) / np.float32(255)


def _whitening_filters(patches: NDArray[np.float32], count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return `count` filters and their negatives, `(values, 2 * count)`, and biases that map the mean patch to zero."""
    mean = patches.mean(axis=0, dtype=np.float64)
    variances, directions = np.linalg.eigh(np.cov(patches, rowvar=False))
    strongest = np.argsort(-variances)[:count]
    scale = np.sqrt(variances[strongest] + _FLOOR * variances[-1])
    half = np.zeros((len(mean), count))  # filters beyond the number of values in a patch stay zero
    half[:, : len(strongest)] = directions[:, strongest] / scale
    both = np.concatenate([half, -half], axis=1)
    return both.astype(np.float32), (-mean @ both).astype(np.float32)
