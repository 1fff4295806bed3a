import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline import dataset
from pipeline.dataset import SPLITS, Split, SplitName
from pipeline.errors import DatasetError, MissingInputError, ValidationFailedError
from pipeline.params import ValidateParams
from pipeline.validate import stage
from pipeline.workspace import Workspace
from tests import data_sets
from tests.validate import defects
from tests.validate.conftest import CLASSES

Splits = dict[SplitName, Split]
Ingested = Callable[[Mapping[SplitName, Split]], Workspace]
ROOT = Path(__file__).parents[2]


def test_good_data_is_vouched_for_by_its_digest_alone(
    ingested: Ingested, splits: Splits, limits: ValidateParams, capfd: pytest.CaptureFixture[str]
) -> None:
    workspace = ingested(splits)
    stage.run(limits, workspace)
    digest = dataset.describe(workspace.dataset).digest
    assert json.loads(workspace.validated.read_text()) == {"dataset_digest": digest}
    printed, warned = capfd.readouterr()
    assert printed.splitlines() == [
        "28 expectations on 1,795 images: all passed",
        "baseline of the model: kernel ridge (Nystroem), 98.34 % of 362 test images correct",
        "report: reports/validation.html",
    ]
    assert warned == ""
    assert len(pd.read_parquet(workspace.features)) == 1795
    assert "✓ Passed: all 28 expectations" in workspace.validation_html.read_text()


def test_digits_at_28_pixels_pass_the_shipped_limits(ingested: Ingested, splits: Splits, limits: ValidateParams) -> None:
    def enlarged(split: Split) -> Split:
        images = [Image.fromarray(image[..., 0]).resize((28, 28), Image.Resampling.BILINEAR) for image in split.images]
        return Split(np.stack([np.asarray(image) for image in images])[..., None], split.labels, split.source_index)

    workspace = ingested({name: enlarged(split) for name, split in splits.items()})
    stage.run(limits, workspace)
    assert workspace.validated.exists()


def test_running_twice_writes_equal_bytes(ingested: Ingested, splits: Splits, limits: ValidateParams) -> None:
    workspace = ingested(splits)
    outputs = (
        *(
            getattr(workspace, name)
            for name in ("validated", "features", "baseline", "profile", "validation_json", "validation_html")
        ),
    )
    stage.run(limits, workspace)
    first = [path.read_bytes() for path in outputs]
    stage.run(limits, workspace)
    assert [path.read_bytes() for path in outputs] == first


def test_the_profile_says_how_the_training_split_lies(ingested: Ingested, splits: Splits, limits: ValidateParams) -> None:
    workspace = ingested(splits)
    stage.run(limits, workspace)
    content = json.loads(workspace.profile.read_text())
    assert (content["dataset"], content["dataset_digest"]) == ("digits", dataset.describe(workspace.dataset).digest)
    assert content["classes"] == {str(label): int((splits["train"].labels == label).sum()) for label in range(10)}
    assert {*content["features"]} == {"pixel_mean", "contrast", "foreground_fraction"}
    means = splits["train"].images.mean(axis=(1, 2, 3))
    assert content["features"]["pixel_mean"] == np.bincount(means.astype(int), minlength=256).tolist()


def test_bad_data_stops_the_pipeline_with_one_line(ingested: Ingested, splits: Splits, limits: ValidateParams) -> None:
    splits["test"].images[7] = 200
    workspace = ingested(splits)
    with pytest.raises(ValidationFailedError) as error:
        stage.run(limits, workspace)
    source, label = splits["test"].source_index[7], splits["test"].labels[7]
    line = str(error.value)
    assert line.startswith(
        "the data failed 1 of 28 expectations: no-blank-images: 1 of 1,795 images is blank, "
        f"limit ≥ 0.005: test row 7 (source {source}, class {label}): contrast 0; see reports/validation.html; to continue: "
        "remove these images, or change validate.min_contrast, or remove no-blank-images from validate.stop (params.yaml)"
    )
    assert "\n" not in line


def test_bad_data_is_reported_with_its_images(ingested: Ingested, splits: Splits, limits: ValidateParams) -> None:
    splits["train"].images[25] = splits["train"].images[2]
    workspace = ingested(splits)
    with pytest.raises(ValidationFailedError):
        stage.run(limits.model_copy(update={"stop": ["images-unique"]}), workspace)
    page = workspace.validation_html.read_text()
    images = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert "✗ Failed: 1 of 28 expectations" in page
    assert len(images) == 2
    assert images[0] == images[1]  # a duplicate looks like its original
    assert not re.search(r'(src|href)="(?!data:)', page)
    content = json.loads(workspace.validation_json.read_text())
    (failed,) = [entry for entry in content["expectations"] if entry["verdict"] == "failed"]
    assert (content["verdict"], failed["id"], failed["flagged_count"]) == ("failed", "images-unique", 2)
    assert {row["row"] for row in failed["first_flagged"]} == {2, 25}
    assert workspace.features.exists()


def test_bad_data_is_not_vouched_for_by_an_older_file(ingested: Ingested, splits: Splits, limits: ValidateParams) -> None:
    workspace = ingested(splits)
    stage.run(limits, workspace)
    with pytest.raises(ValidationFailedError):
        stage.run(limits.model_copy(update={"min_contrast": 200.0}), workspace)
    assert not workspace.validated.exists()


def test_many_failures_are_all_named_in_one_line(ingested: Ingested, splits: Splits, limits: ValidateParams) -> None:
    for inject in (defects.label_that_is_no_class, defects.class_absent_from_validation, defects.blank_image):
        inject(splits)
    with pytest.raises(ValidationFailedError, match="failed 3 of 28") as error:
        stage.run(limits, ingested(splits))
    for name in ("labels-in-range", "classes-all-present", "no-blank-images"):
        assert name in str(error.value)


@pytest.mark.parametrize(
    "change",
    [lambda images: 255 - images, lambda images: images // 16, lambda images: images // 2 + 127],
    ids=["white background", "values 0 – 15", "bright"],
)
def test_data_unlike_fashion_mnist_are_not_stopped(
    change: Callable[[np.ndarray], np.ndarray], ingested: Ingested, splits: Splits, limits: ValidateParams
) -> None:
    workspace = ingested({name: replace(split, images=change(split.images)) for name, split in splits.items()})
    stage.run(limits, workspace)
    assert workspace.validated.exists()


def test_a_warning_names_the_way_out(
    ingested: Ingested, splits: Splits, limits: ValidateParams, capsys: pytest.CaptureFixture[str]
) -> None:
    defects.inverted_image(splits)
    stage.run(limits, ingested(splits))
    printed = capsys.readouterr().out
    assert "\n  look at these images, or change validate.min_class_similarity\n" in printed


def test_flagged_images_are_named_by_their_files(
    workspace: Workspace, splits: Splits, limits: ValidateParams, capsys: pytest.CaptureFixture[str]
) -> None:
    splits["train"].images[25] = splits["train"].images[2]
    names = {name: [f"{name}/{row}.png" for row in range(len(split))] for name, split in splits.items()}
    copy, original = names["train"][25], names["train"][2] = "日本/<img onerror=x>.png", f"{'deep/' * 70}a b.png"
    workspace.dataset.mkdir(parents=True)
    data_sets.write(workspace.dataset, "digits", CLASSES, splits, (), names)
    stage.run(limits, workspace)
    frame = pd.read_parquet(workspace.features)
    assert frame["file"].tolist() == [file for name in SPLITS for file in names[name]]
    digest = frame["digest"][2]
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("warning: images-unique: 2 of 1,795 images are duplicates")
    assert lines[start + 1 : start + 3] == [f"  e.g. {original} (digest {digest})", f"  e.g. {copy} (digest {digest})"]
    content = json.loads(workspace.validation_json.read_text(encoding="utf-8"))
    flagged = next(entry["first_flagged"] for entry in content["expectations"] if entry["id"] == "images-unique")
    assert [row["file"] for row in flagged] == [original, copy]
    page = workspace.validation_html.read_text(encoding="utf-8")
    assert (original in page, "日本/&lt;img onerror=x&gt;.png" in page, "<img onerror" in page) == (True, True, False)
    with pytest.raises(ValidationFailedError, match=re.escape(f"train row 25 ({copy}, class ")):
        stage.run(limits.model_copy(update={"stop": ["images-unique"]}), workspace)


def test_both_files_of_a_pair_are_named(
    workspace: Workspace, splits: Splits, limits: ValidateParams, capsys: pytest.CaptureFixture[str]
) -> None:
    defects.shifted_copy_within_test(splits)
    names = {name: [f"{name}/{row}.png" for row in range(len(split))] for name, split in splits.items()}
    workspace.dataset.mkdir(parents=True)
    data_sets.write(workspace.dataset, "digits", CLASSES, splits, (), names)
    stage.run(limits, workspace)
    content = json.loads(workspace.validation_json.read_text(encoding="utf-8"))
    expected = "no-near-duplicates-within-a-split"
    (row,) = next(entry["first_flagged"] for entry in content["expectations"] if entry["id"] == expected)
    assert (row["file"], row["other_file"]) == (f"test/{row['row']}.png", f"test/{row['other_row']}.png")
    assert f"\n  e.g. {row['file']} and {row['other_file']} (difference " in capsys.readouterr().out


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_images_of_any_colour_are_shown(ingested: Ingested, splits: Splits, limits: ValidateParams, channels: int) -> None:
    splits["test"].images[7] = 200
    workspace = ingested(
        {name: Split(split.images.repeat(channels, axis=3), split.labels, split.source_index) for name, split in splits.items()}
    )
    with pytest.raises(ValidationFailedError, match="no-blank-images"):
        stage.run(limits, workspace)
    assert "data:image/png" in workspace.validation_html.read_text()


def test_without_a_data_set_the_stage_that_makes_it_is_named(workspace: Workspace, limits: ValidateParams) -> None:
    with pytest.raises(MissingInputError, match="the ingest stage makes it"):
        stage.run(limits, workspace)


def test_a_data_set_that_ingest_did_not_write_is_refused(ingested: Ingested, splits: Splits, limits: ValidateParams) -> None:
    workspace = ingested(splits)
    np.save(workspace.dataset / "train" / "images.npy", splits["train"].images.astype(np.float32))
    with pytest.raises(DatasetError, match="float32"):
        stage.run(limits, workspace)


@pytest.mark.slow
def test_the_command_is_quiet_and_writes_only_into_the_checkout(
    ingested: Ingested, splits: Splits, tmp_path_factory: pytest.TempPathFactory
) -> None:
    workspace = ingested(splits)
    for source in (ROOT / "dvc.yaml", ROOT / "tests/params.yaml"):
        (workspace.root / source.name).write_bytes(source.read_bytes())
    outside = tmp_path_factory.mktemp("outside")
    environment = {**os.environ, "HOME": str(outside), "TMPDIR": str(outside), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pipeline", "validate"]
    done = subprocess.run(command, cwd=workspace.root, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 3
    assert list(outside.iterdir()) == []
