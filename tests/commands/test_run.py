import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from pipeline import params
from pipeline.commands import edit, run
from pipeline.commands.edit import set_dataset, set_training, set_values
from pipeline.errors import ParamsError, PipelineError, SourceError
from pipeline.workspace import Workspace

PROJECT = Path(__file__).parents[2]
NO_LIMITS = [f"{key}: null" for key in edit.LIMITS]
SHIPPED, TESTED = PROJECT / "params.yaml", PROJECT / "tests/params.yaml"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The shipped params.yaml, set to Fashion-MNIST whatever it says today."""
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    path = tmp_path / "params.yaml"
    set_dataset(path, "digits")
    set_dataset(path, "fashion-mnist")
    return path


def changed_lines(before: bytes, path: Path) -> list[str]:
    """The lines of params.yaml that differ, without their comments."""
    pairs = zip(before.decode().splitlines(), path.read_text(encoding="utf-8").splitlines(), strict=True)
    return [new.split("#")[0].strip() for old, new in pairs if old != new]


def test_own_data_is_written_into_params_and_taken_out_again_byte_for_byte(path: Path) -> None:
    before = path.read_bytes()
    set_dataset(path, "folder", "pets")
    assert changed_lines(before, path) == ["dataset: folder", "name: pets", "horizontal_flip: false", *NO_LIMITS]
    set_dataset(path, "npz")
    assert (params.load(path).ingest.dataset, params.load(path).ingest.dataset_name) == ("npz", "pets")
    set_values(path, {"ingest.class_names": ["a", "b"], "ingest.channels": 3, "train.horizontal_flip": True})
    set_dataset(path, "digits")
    assert changed_lines(before, path) == ["dataset: digits", "horizontal_flip: false", *NO_LIMITS]
    set_dataset(path, "fashion-mnist")
    assert path.read_bytes() == before


def test_a_limit_for_a_model_belongs_to_its_data_set(path: Path) -> None:
    shipped = params.load(SHIPPED).register
    set_dataset(path, "folder", "pets")
    assert params.load(path).register == shipped.model_copy(update=dict.fromkeys(edit.LIMITS))
    set_values(path, {"register.min_accuracy": 0.97})
    set_dataset(path, "folder", "pets")
    assert params.load(path).register.min_accuracy == 0.97  # chosen for these data
    set_dataset(path, "digits")
    assert params.load(path).register.min_accuracy is None
    set_dataset(path, "fashion-mnist")
    assert params.load(path).register == shipped


def test_the_data_set_already_chosen_keeps_what_the_user_set_beside_it(path: Path) -> None:
    set_values(path, {"ingest.channels": 3, "train.horizontal_flip": False})
    before = path.read_bytes()
    set_dataset(path, "fashion-mnist")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("dataset", "name", "message"),
    [
        ("folder", None, "name is empty: folder is your own data; set it, or use"),
        ("digits", "pets", "leave them empty for digits"),
        ("folder", "My Pets", "ingest.name = 'My Pets': string should match pattern"),
        ("mnist", None, "ingest.dataset = 'mnist'"),
    ],
)
def test_a_choice_that_cannot_be_is_refused_and_leaves_params_as_they_were(
    path: Path, dataset: str, name: str | None, message: str
) -> None:
    before = path.read_bytes()
    with pytest.raises(ParamsError, match=f"^params.yaml: .*{message}"):
        set_dataset(path, dataset, name)
    assert path.read_bytes() == before


def put_images(folder: Path) -> Path:
    for number in range(60):
        path = folder / ("ant", "bee")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 40), (200, number, 40)).save(path)
    return folder


def test_a_source_alone_chooses_kind_name_channels_and_size(
    workspace: Workspace, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    set_dataset(workspace.params, "fashion-mnist")
    set_values(workspace.params, {"train.horizontal_flip": True})
    source = put_images(tmp_path_factory.mktemp("elsewhere") / "Käfer & Bienen")
    run._choose(workspace, None, str(source), None)
    chosen = params.load(workspace.params)
    assert (chosen.ingest.dataset, chosen.ingest.source, chosen.ingest.name) == ("folder", str(source), "kafer-bienen")
    assert (chosen.ingest.channels, chosen.ingest.image_size, chosen.train.horizontal_flip) == (3, 48, False)
    assert f"{source}: --dataset folder --name kafer-bienen\nthe images are 40×60 pixels" in capsys.readouterr().out


def test_a_source_in_the_checkout_is_written_relative_to_it(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    put_images(workspace.root / "data/pets")
    monkeypatch.chdir(workspace.root / "data")
    run._choose(workspace, None, "pets", None)
    assert params.load(workspace.params).ingest.source == "data/pets"
    run._choose(workspace, None, None, "insects")  # another name for the same data
    assert params.load(workspace.params).ingest.dataset_name == "insects"


def test_another_source_is_another_data_set(workspace: Workspace) -> None:
    for name in ("pets", "pests.v2"):
        put_images(workspace.root / name)
    run._choose(workspace, "folder", str(workspace.root / "pets"), "mine")
    set_values(workspace.params, {"ingest.class_names": ["bee", "ant"], "train.horizontal_flip": True})
    run._choose(workspace, None, str(workspace.root / "pets"), None)
    kept = params.load(workspace.params)
    assert (kept.ingest.name, kept.ingest.class_names, kept.train.horizontal_flip) == ("mine", ("bee", "ant"), True)
    run._choose(workspace, None, str(workspace.root / "pests.v2"), None)
    changed = params.load(workspace.params)
    assert (changed.ingest.name, changed.ingest.class_names, changed.train.horizontal_flip) == ("pests-v2", (), False)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/data/Emoji Set.tar.gz", "emoji-set"),
        ("a/train.v2.parquet", "train-v2"),
        ("/home/me/Фото", "my-images"),
        ("digits.zip", "my-digits"),
        ("x" * 99, "x" * 60),
    ],
)
def test_a_source_names_the_data_set(path: str, name: str) -> None:
    assert run._slug(path) == name


@pytest.mark.parametrize(
    ("dataset", "source", "message"),
    [
        ("digits", "pets", "^--source is for your own data, and digits is not: leave one of them out"),
        (None, "nowhere", "^ingest.source: .*nowhere does not exist: put your data there"),
        ("npz", "pets", "pets must hold one .npz file, but holds none"),
    ],
)
def test_a_source_that_cannot_be_used_leaves_params_as_they_were(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, dataset: str | None, source: str, message: str
) -> None:
    put_images(workspace.root / "pets")
    monkeypatch.chdir(workspace.root)
    before = workspace.params.read_bytes()
    with pytest.raises(PipelineError, match=message):
        run._choose(workspace, dataset, source, None)
    assert workspace.params.read_bytes() == before


def test_run_names_the_files_to_commit_that_differ_from_the_last_commit(tmp_path: Path) -> None:
    def git(*command: str) -> None:
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@localhost", *command], cwd=tmp_path, check=True)

    (tmp_path / "reports").mkdir()
    for name in ("params.yaml", "reports/metrics.json", "other"):
        (tmp_path / name).write_text("1")
    workspace = Workspace(tmp_path, tmp_path)
    assert run._uncommitted(workspace) == []  # no git repository
    git("init", "-q")
    git("add", "params.yaml")
    git("commit", "-q", "-m", "params")
    assert run._uncommitted(workspace) == ["reports/metrics.json"]
    (tmp_path / "dvc.lock").write_text("1")
    git("add", "-A")
    (tmp_path / "params.yaml").write_text("2")
    assert run._uncommitted(workspace) == ["dvc.lock", "params.yaml", "reports/metrics.json"]
    git("commit", "-q", "-a", "-m", "all")
    assert run._uncommitted(workspace) == []


FORMS = {
    "as shipped": SHIPPED.read_text(encoding="utf-8"),
    "CRLF and a byte order mark": "\ufeff" + TESTED.read_text(encoding="utf-8").replace("\n", "\r\n"),
    "four spaces": TESTED.read_text(encoding="utf-8").replace("  ", "    "),
}


@pytest.mark.parametrize("before", FORMS.values(), ids=FORMS)
def test_values_are_written_and_every_other_line_stays_byte_for_byte(tmp_path: Path, before: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(before.encode())
    set_values(path, {"ingest.dataset": "npz", "ingest.name": "1e5", "ingest.class_names": ["0", "ä: 😀"]})
    changed = params.load(path).ingest
    assert (changed.dataset, changed.name, changed.class_names) == ("npz", "1e5", ("0", "ä: 😀"))
    lines = zip(before.splitlines(keepends=True), path.read_bytes().decode().splitlines(keepends=True), strict=True)
    assert [new.strip().split("#")[0].strip() for old, new in lines if old != new] == [
        "dataset: npz",
        'name: "1e5"',  # else a number
        'class_names: ["0", "ä: 😀"]',
    ]


def test_values_in_other_yaml_styles_are_replaced_whole() -> None:
    before = """\
ingest: {dataset: "folder", name: 'pets'}  # ours
train:
  class_names:
    - cat
    - 'dog'  # the last

  # the next
  horizontal_flip: true
  text: |
    two
    lines
  seed: 1
"""
    changes = {
        "ingest.dataset": "digits",
        "ingest.name": "",
        "train.class_names": [],
        "train.horizontal_flip": False,
        "train.text": "x",
    }
    assert (
        edit._with_values(before, changes)
        == """\
ingest: {dataset: digits, name: ""}  # ours
train:
  class_names:
    []  # the last

  # the next
  horizontal_flip: false
  text: x
  seed: 1
"""
    )


def test_values_that_are_there_already_are_not_rewritten(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(TESTED.read_text(encoding="utf-8").replace("dataset: fashion-mnist", "dataset: 'fashion-mnist'"))
    before = path.read_bytes()
    set_values(path, {"ingest.dataset": "fashion-mnist", "train.seed": 42})
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("old", "new", "changes", "message"),
    [
        ("", "", {"train.seed": -1}, "^params.yaml: train.seed = -1: input should be greater than or equal to 0"),
        ("seed: 42  ", "seed: &seed 42  ", {"train.seed": 7}, "^params.yaml: train.seed cannot be changed automatically"),
        ("dataset: f", "data: f", {"train.seed": 7}, "^params.yaml: ingest.dataset is missing; unknown key ingest.data"),
    ],
)
def test_a_change_that_cannot_be_made_leaves_the_file_as_it_was(
    tmp_path: Path, old: str, new: str, changes: dict[str, object], message: str
) -> None:
    path = tmp_path / "params.yaml"
    text = TESTED.read_text(encoding="utf-8").replace(old, new, 1)
    if "&seed" in text:  # train.seed is an alias of ingest.seed: writing there would change both
        text = text.replace("  seed: 42 ", "  seed: *seed ", 1)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ParamsError, match=message):
        set_values(path, changes)
    assert path.read_text(encoding="utf-8") == text
    assert [file.name for file in tmp_path.iterdir()] == ["params.yaml"]


def test_training_settings_are_written_where_the_chosen_architecture_has_them(path: Path) -> None:
    before = path.read_bytes()
    kept = [f"{name}={edit.UNCHANGED}" for name in ("architecture", "epochs", "batch_size", "learning_rate", "seed")]
    assert set_training(path, kept) == {}
    assert path.read_bytes() == before
    changes = set_training(path, ["architecture=compact", "epochs=3", "learning_rate=0.25", "seed=params.yaml"])
    assert changes == {
        "train.architecture": "compact",
        "train.recipes.compact.epochs": 3,
        "train.recipes.compact.learning_rate": 0.25,
    }
    assert changed_lines(before, path) == ["architecture: compact", "epochs: 3", "learning_rate: 0.25"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["epoch=3"], r"^--set epoch: not a setting of the architecture \w+ \(known: architecture, batch_size, "),
        (["seed"], "^params.yaml: train.seed = '': input should be a valid integer"),
        (["architecture=huge"], "^params.yaml: train.architecture = 'huge': input should be 'notebook', "),
        (["epochs=0"], r"^params.yaml: train.recipes.\w+.epochs = 0: input should be greater than or equal to 1"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_and_leaves_params_as_they_were(
    path: Path, settings: list[str], message: str
) -> None:
    before = path.read_bytes()
    with pytest.raises(ParamsError, match=message):
        set_training(path, settings)
    assert path.read_bytes() == before


def test_own_images_choose_channels_and_size_when_they_are_first_named(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    put_images(workspace.root / "data/source")
    run._choose(workspace, "folder", None, "pets")
    chosen = params.load(workspace.params).ingest
    assert (chosen.dataset, chosen.name, chosen.channels, chosen.image_size) == ("folder", "pets", 3, 48)
    assert "the images are 40×60 pixels (median), 100 % in colour: params.yaml now has" in capsys.readouterr().out
    set_values(workspace.params, {"ingest.channels": 1})
    run._choose(workspace, "folder", None, "pets")
    assert params.load(workspace.params).ingest.channels == 1  # the user's choice stays


def test_own_data_that_cannot_be_read_leaves_params_as_they_were(workspace: Workspace) -> None:
    before = workspace.params.read_bytes()
    with pytest.raises(SourceError, match="data/source does not exist"):
        run._choose(workspace, "folder", None, "pets")
    assert workspace.params.read_bytes() == before


def test_a_source_that_is_one_file_reaches_dvc(workspace: Workspace) -> None:
    shutil.make_archive(str(workspace.root / "pets"), "zip", put_images(workspace.root / "pets"))
    run._choose(workspace, None, str(workspace.root / "pets.zip"), None)
    assert run._get_data(workspace) is None


def test_a_name_that_dvc_would_fail_over_is_named_before(workspace: Workspace) -> None:
    set_dataset(workspace.params, "folder", "pets")
    (workspace.root / "data/source/ant").mkdir(parents=True)
    (workspace.root / "data/source/ant/gone.png").symlink_to("nowhere.png")
    with pytest.raises(SourceError, match=r"ant/gone.png is a link to nowhere.png, which does not exist"):
        run.run(None, None, None, [], workspace)
