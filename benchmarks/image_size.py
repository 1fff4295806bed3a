"""What larger images cost and gain: images/s, memory and accuracy of an architecture at several image sizes.

    .venv/bin/python -m benchmarks.image_size [SIZE ...] [--architecture NAME] [--steps N] [--unscaled SIZE ...]

Data: 5,200 colour images of 26 capital letters, drawn at each size with the fonts that matplotlib ships, in any colours, at any
place, turned by up to 15°; 1,300 for the test, in fonts that training has not seen. Each size is measured in a process of its
own: images/s and the highest resident memory (VmHWM) in 12 steps of the recipe's batch and a validation, with 520 images; then
the test accuracy after STEPS (300) steps of 64 images by the recipe, regularised as for few images; 0 leaves that out.
--unscaled measures the network without what adapts it to larger images.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import record
from pipeline import environment, params
from pipeline.dataset import Split
from pipeline.params import TrainParams
from pipeline.workspace import Workspace

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
TRAINING, TEST = "DejaVu", "STIXGeneral"  # families of fonts
EPOCH = 5_000  # images
BATCH = 64
Arrays = tuple[NDArray[np.uint8], NDArray[np.int32]]


def main(sizes: Sequence[int], unscaled: Sequence[int], architecture: str, steps: int) -> None:
    """Measure each size, print and store its row."""
    figures = []
    for size, scaled in [*((size, True) for size in sizes), *((size, False) for size in unscaled)]:
        arguments = ["--child", str(size), "scaled" if scaled else "unscaled", architecture, str(steps)]
        command = [sys.executable, "-m", "benchmarks.image_size", *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        figures.append(json.loads(done.stdout))
        print(done.stdout, end="", flush=True)
    record("image_size", figures, "42")


def child(size: int, scaled: bool, architecture: str, steps: int) -> None:
    """Measure one size and print its row."""
    environment.prepare()
    from pipeline.train import architectures, machine

    if not scaled:
        architectures._DESIGNED = size
    settings = params.load(Workspace.find().params).train.model_copy(update={"architecture": architecture})
    machine.prepare(settings)
    parameters, speed = cost(settings, letters(TRAINING, 20, size))
    memory = highest_megabytes()
    row = {
        "network": architecture + ("" if scaled else ", unscaled"),
        "size": size,
        "parameters": parameters,
        "speed": round(speed),
        "epoch": round(EPOCH / speed, 1),
        "memory": round(memory),
        "accuracy": round(100 * accuracy(settings, size, steps), 1) if steps else None,
    }
    print(json.dumps(row))


def letters(family: str, each: int, size: int) -> Arrays:
    """Draw `each` images of every letter, uint8 `(n, size, size, 3)`, and their labels."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    random = np.random.default_rng(0)
    fonts = sorted(Path(matplotlib.get_data_path(), "fonts", "ttf").glob(f"{family}*.ttf"))
    fonts = [font for font in fonts if "Display" not in font.name and "Math" not in font.name]
    images = np.empty((each * len(LETTERS), size, size, 3), np.uint8)
    labels = random.permutation(np.arange(len(images), dtype=np.int32) % len(LETTERS))
    for image, label in zip(images, labels, strict=True):
        font = ImageFont.truetype(str(random.choice(np.array(fonts, str))), int(size * random.uniform(0.45, 0.85)))
        drawn = Image.new("L", (2 * size, 2 * size))
        ImageDraw.Draw(drawn).text((size, size), LETTERS[label], 255, font, anchor="mm")
        left, top = random.integers(size // 2 - size // 8, size // 2 + size // 8 + 1, 2)
        drawn = drawn.rotate(random.uniform(-15, 15), Image.Resampling.BILINEAR).crop((left, top, left + size, top + size))
        ground = random.integers(0, 256, 3)
        ink = (ground + random.integers(80, 177, 3)) % 256  # 80 grey levels away at least, in each channel
        share = np.asarray(drawn)[..., None] / 255
        image[...] = share * ink + (1 - share) * ground
    return images, labels


def highest_megabytes() -> float:
    """Return the highest resident memory of this process so far."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM"))


def cost(settings: TrainParams, training: Arrays) -> tuple[int, float]:
    """Return the number of parameters, and images/s in steps of the recipe's batch; validate once, as an epoch does."""
    from pipeline.train import architectures
    from pipeline.train.fit import _validate
    from pipeline.train.recipe import recipe_of
    from pipeline.train.step import Average, Step

    images, labels = training
    model = architectures.build(settings, images.shape[1:], len(LETTERS))
    architectures.whiten(model, images, settings.seed)
    recipe = recipe_of(settings)
    step = Step(model, recipe, Average(model, recipe.ema))
    start = 0.0
    for number in range(12):
        rows = np.arange(number * recipe.batch_size, (number + 1) * recipe.batch_size) % len(images)
        step.train(images[rows], labels[rows], 0.01).numpy()
        if number == 1:  # compiled and warm
            start = time.perf_counter()
    speed = recipe.batch_size * 10 / (time.perf_counter() - start)
    _validate(step, Split(images, labels, labels))
    return model.count_params(), speed


def accuracy(settings: TrainParams, size: int, steps: int) -> float:
    """Return the test accuracy after `steps` steps of 64 images."""
    from pipeline.train import architectures
    from pipeline.train.recipe import learning_rate, recipe_of
    from pipeline.train.step import Average, Step

    (images, labels), test = letters(TRAINING, 200, size), letters(TEST, 50, size)
    recipe = recipe_of(settings)
    small = {
        "batch_size": BATCH,
        "learning_rate": recipe.learning_rate * BATCH / recipe.batch_size,
        "dropout": settings.small_data.dropout,
        "label_smoothing": settings.small_data.label_smoothing,
    }
    recipe = recipe.model_copy(update=small)
    own = settings.recipes.model_copy(update={settings.architecture: recipe})
    model = architectures.build(settings.model_copy(update={"recipes": own}), images.shape[1:], len(LETTERS))
    architectures.whiten(model, images, settings.seed)
    step, random = Step(model, recipe, Average(model, 0)), np.random.default_rng(settings.seed)
    for number in range(steps):
        rows = random.integers(0, len(images), BATCH)
        step.train(images[rows], labels[rows], learning_rate(recipe, number, steps))
    correct = [float(step.validate(part, of)[1]) for part, of in zip(*(np.array_split(each, 20) for each in test), strict=True)]
    return sum(correct) / len(test[1])


def arguments() -> Any:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=int, metavar="SIZE", default=[28, 32, 48, 64, 128, 224])
    parser.add_argument("--architecture", default="default")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--unscaled", nargs="*", type=int, metavar="SIZE", default=[])
    return parser.parse_args()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(int(sys.argv[2]), sys.argv[3] == "scaled", sys.argv[4], int(sys.argv[5]))
    else:
        given = arguments()
        main(given.sizes, given.unscaled, given.architecture, given.steps)
