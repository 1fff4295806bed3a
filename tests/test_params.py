from pathlib import Path

import pytest

from pipeline import params
from pipeline.errors import ParamsError

SHIPPED = Path(__file__).parents[1] / "params.yaml"
TESTED = Path(__file__).parent / "params.yaml"


def load_with(tmp_path: Path, old: str, new: str) -> params.Params:
    text = TESTED.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "params.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return params.load(path)


def test_the_file_in_use_can_be_read() -> None:
    params.load(SHIPPED)


def test_tested_params_are_the_notebooks() -> None:
    train = params.load(TESTED).train
    recipe = train.recipes.notebook
    assert (train.architecture, recipe.epochs, recipe.batch_size, recipe.dropout) == ("notebook", 10, 64, 0.3)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  epochs: 10 ", "  epoch: 10 ", "unknown key train.recipes.notebook.epoch (did you mean epochs?)"),
        ("  epochs: 10 ", "  epochs: ten ", "train.recipes.notebook.epochs = 'ten': input should be a valid integer"),
        ("  epochs: 10 ", "  epochs: '10' ", "train.recipes.notebook.epochs = '10': input should be a valid integer"),
        ("  epochs: 10 ", "  epochs: true ", "train.recipes.notebook.epochs = True: input should be a valid integer"),
        ("  epochs: 10 ", "  epochs: 0 ", "train.recipes.notebook.epochs = 0: input should be greater than or equal to 1"),
        ("learning_rate: 0.001", "learning_rate: .inf", "train.recipes.notebook.learning_rate = inf"),
        ("min_accuracy: 0.90", "min_accuracy: 1.5", "register.min_accuracy = 1.5: input should be less than or equal to 1"),
        ("min_accuracy: 0.90", "min_accuracy: .nan", "register.min_accuracy = nan"),
        ("dataset: fashion-mnist", "dataset: mnist", "ingest.dataset = 'mnist': input should be 'fashion-mnist', 'digits', "),
        ("dataset: fashion-mnist", "dataset: folder", "ingest: name is empty: folder is your own data; set it, or use"),
        ('name: ""', "name: shirts", "ingest: name and class_names are for your own data: leave them empty for fashion-mnist"),
        ("class_names: []", "class_names: [a, b]", "leave them empty for fashion-mnist"),
        ("class_names: []", "class_names: [1, b]", "ingest.class_names.0 = 1: input should be a valid string"),
        ('name: ""', "name: My Shirts", "ingest.name = 'My Shirts': string should match pattern"),
        ("source: data/source", "source: s3://bucket/shirts", "ingest: source is a path, not a URL: `dvc import-url URL"),
        ("channels: 1", "channels: 4", "ingest.channels = 4: input should be 1 or 3"),
        ("resize: stretch", "resize: tile", "ingest.resize = 'tile': input should be 'stretch', 'pad' or 'crop'"),
        (
            "architecture: notebook",
            "architecture: vgg",
            "train.architecture = 'vgg': input should be 'notebook', 'sprint', 'compact', 'default' or 'large'",
        ),
        ("optimizer: adam", "optimizer: lion", "train.recipes.notebook.optimizer = 'lion': input should be 'sgd' or 'adam'"),
        (
            "    - no-blank-images",
            "    - no-blank-image",
            "validate.stop: 'no-blank-image' is not an expectation (did you mean no-blank-images?)",
        ),
        ("train:\n", "training:\n", "the section train is missing: restore it with `git checkout params.yaml`"),
        ("train:\n", "train: 3\nother:\n", "train is not a mapping of keys"),
        ("train:\n", "train: [\n", "is not valid YAML at line"),
        ("      epochs: 10 ", "      epochs: 10\n      epochs: 11 ", 'found duplicate key "epochs"'),
    ],
)
def test_a_slip_is_one_line_that_names_it(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ParamsError) as error:
        load_with(tmp_path, old, new)
    assert message in str(error.value)
    assert "params.yaml" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"name": "digits"}, "name = 'digits' is the name of a known data set"),
        ({"class_names": ("cat", "dog", "cat")}, "class_names holds 'cat' twice"),
        ({"class_names": ("cat ", "dog")}, "class_names holds 'cat ': remove control characters and surrounding spaces"),
        ({"class_names": ("cat\n", "dog")}, "class_names holds 'cat\\\\n'"),
    ],
)
def test_own_data_needs_names_that_can_be_used(own: dict[str, object], message: str) -> None:
    settings = {**params.load(TESTED).ingest.model_dump(), "dataset": "folder", "name": "pets"}
    assert params.IngestParams.model_validate(settings).dataset_name == "pets"
    with pytest.raises(ValueError, match=message):
        params.IngestParams.model_validate({**settings, **own})


def test_a_known_data_set_goes_by_its_own_name() -> None:
    assert params.load(TESTED).ingest.dataset_name == "fashion-mnist"


@pytest.mark.parametrize("content", [b"", b"- a\n", b"just text", b"\xff\xfe\x00"])
def test_what_is_no_mapping_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(ParamsError, match=r"params\.yaml") as error:
        params.load(path)
    assert "\n" not in str(error.value)


def test_a_version_number_needs_no_quotes(tmp_path: Path) -> None:
    assert load_with(tmp_path, 'warm_start: ""', "warm_start: 3").train.warm_start == "3"


def test_a_missing_file_says_how_to_get_it_back(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="git checkout"):
        params.load(tmp_path / "params.yaml")


def test_every_key_is_explained_in_the_file() -> None:
    lines = [line.strip() for line in TESTED.read_text(encoding="utf-8").splitlines() if line.startswith("  ")]
    explained = {line.split(":")[0] for line in lines if "#" in line}
    assert {line.split(":")[0] for line in lines} == explained
