"""One step: its loss, its average, and that two devices do what one does."""

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.dataset import Split
from pipeline.params import TrainParams
from pipeline.train import architectures, fit
from pipeline.train.recipe import recipe_of
from pipeline.train.step import Average, Step
from tests.train.recipes import changed

IMAGES = np.random.default_rng(0).integers(0, 256, (64, 12, 12, 1), dtype=np.uint8)
LABELS = (np.arange(64) % 4).astype(np.int32)


def test_the_loss_is_the_cross_entropy_with_smoothed_labels(params: TrainParams) -> None:
    recipe = recipe_of(changed(params, label_smoothing=0.2, dropout=0.0))
    model = architectures.build(changed(params, dropout=0.0), (12, 12, 1), 4)
    logits = np.asarray(model(IMAGES), np.float64)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    target = np.full((64, 4), 0.05)
    target[np.arange(64), LABELS] += 0.8
    loss, correct = Step(model, recipe, Average(model, 0)).train(IMAGES, LABELS, 0.0).numpy()
    assert loss == pytest.approx(-(target * np.log(probabilities)).sum(), rel=1e-4)
    assert correct == (probabilities.argmax(axis=1) == LABELS).sum()


def test_validation_smooths_nothing_and_changes_nothing(params: TrainParams) -> None:
    model = architectures.build(params, (12, 12, 1), 4)
    step = Step(model, recipe_of(changed(params, label_smoothing=0.2)), Average(model, 0))
    before = model.get_weights()
    logits = np.asarray(model(IMAGES), np.float64)
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(64), LABELS]
    assert step.validate(IMAGES, LABELS).numpy()[0] == pytest.approx(losses.sum(), rel=1e-4)
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))


def test_larger_images_are_validated_in_smaller_batches_with_the_same_scores(
    params: TrainParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = architectures.build(params, (12, 12, 1), 4)
    step, split = Step(model, recipe_of(params), Average(model, 0)), Split(IMAGES, LABELS, LABELS)
    whole, validate, sizes = fit._validate(step, split), step.validate, []

    def counted(images: Any, labels: Any) -> Any:
        sizes.append(len(images))
        return validate(images, labels)

    monkeypatch.setattr(step, "validate", counted)
    monkeypatch.setattr(fit, "_VALIDATION_PIXELS", 30 * 12 * 12)
    assert fit._validate(step, split) == pytest.approx(whole)
    assert sizes == [30, 30, 4]


@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 0.2), ("adam", 0.003)])
def test_every_optimizer_learns_and_decays_only_kernels(params: TrainParams, optimizer: str, rate: float) -> None:
    settings = changed(params, optimizer=optimizer, momentum=0.9, weight_decay=0.05, dropout=0.0, batch_size=64)
    model = architectures.build(settings, (12, 12, 1), 4)
    step = Step(model, recipe_of(settings), Average(model, 0))
    losses = [step.train(IMAGES, LABELS, rate).numpy()[0] for _ in range(30)]
    assert losses[-1] < losses[0] * 0.99
    dark = np.zeros_like(IMAGES)  # no gradient reaches the first kernel: what it loses is the decay
    kernel = model.get_layer("conv_1").kernel.numpy()
    fresh = Step(model, recipe_of(settings), Average(model, 0))
    fresh.train(dark, LABELS, 0.1)
    assert model.get_layer("conv_1").kernel.numpy() == pytest.approx(kernel * 0.995, rel=1e-4)


def test_the_average_follows_every_weight_and_is_undone(params: TrainParams) -> None:
    settings = changed(params.model_copy(update={"architecture": "sprint"}), ema=0.5, batch_size=64)
    model = architectures.build(settings, (12, 12, 1), 4)
    average = Average(model, 0.5)
    step = Step(model, recipe_of(settings), average)
    first = [variable.numpy() for variable in (*model.trainable_variables, *model.non_trainable_variables)]
    step.train(IMAGES, LABELS, 0.1)
    second = [variable.numpy() for variable in (*model.trainable_variables, *model.non_trainable_variables)]
    with average.in_place():
        between = [variable.numpy() for variable in (*model.trainable_variables, *model.non_trainable_variables)]
    for a, b, mean in zip(first, second, between, strict=True):
        if a.dtype == np.float32:  # after one step the average decays by 2 / 11, not by 0.5
            assert mean == pytest.approx((2 * a + 9 * b) / 11, abs=1e-6)
    assert all((variable.numpy() == value).all() for variable, value in zip(model.trainable_variables, second, strict=False))


def test_the_average_of_a_short_training_forgets_the_initial_weights(params: TrainParams) -> None:
    """Without its quick start, one of decay 0.999 would hold 98 % of the first weights after 20 steps."""
    import tensorflow as tf

    model = architectures.build(params, (12, 12, 1), 4)
    average = Average(model, 0.999)
    first = average.variables[0].numpy()
    model.get_layer("conv_1").kernel.assign_add(tf.ones_like(first))
    for step in range(1, 21):
        average.update(tf.constant(step))
    left = np.prod([(1 + step) / (10 + step) for step in range(1, 21)])
    assert left < 0.001
    assert average.variables[0].numpy() == pytest.approx(first + 1 - left, abs=1e-5)


@pytest.mark.slow
def test_two_devices_compute_what_one_does() -> None:
    """Two logical CPUs, in a process of its own: TensorFlow divides the processor before its first use only."""
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        import numpy as np
        from pipeline import environment, params
        environment.prepare()
        environment.load_tensorflow()
        import keras, tensorflow as tf
        from pipeline.train import architectures
        from pipeline.train.recipe import recipe_of
        from pipeline.train.step import Average, Step
        from tests.train.recipes import changed
        cpu, = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        settings = changed(params.load(Path(sys.argv[1])).train, optimizer="sgd", momentum=0.9, dropout=0.0, batch_size=64)
        images = np.random.default_rng(0).integers(0, 256, (64, 12, 12, 1), dtype=np.uint8)
        labels = (np.arange(64) % 4).astype(np.int32)
        weights, sums = [], []
        for strategy in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])):
            keras.utils.set_random_seed(1)
            with strategy.scope():
                model = architectures.build(settings, (12, 12, 1), 4)
                average = Average(model, 0.5)
                step = Step(model, recipe_of(settings), average)
                for _ in range(5):
                    result = step.train(images, labels, 0.05).numpy()
                average.apply()
            sums.append(result)
            weights.append(model.get_weights())
        print(sums)
        np.testing.assert_allclose(sums[0], sums[1], rtol=1e-4)
        for one, two in zip(*weights):
            np.testing.assert_allclose(one, two, atol=2e-5)
        assert strategy.num_replicas_in_sync == 2
    """)
    command = [sys.executable, "-c", script, str(Path(__file__).parents[1] / "params.yaml")]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
