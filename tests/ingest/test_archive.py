"""Archives as sources, intact and hostile: nothing of a hostile one is ever written."""

import io
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import dataset
from pipeline.errors import SourceError
from pipeline.ingest import archive, stage
from pipeline.workspace import Workspace
from tests.ingest.test_layouts import put
from tests.ingest.test_own_data import source, wanted, workspace

__all__ = ["source", "workspace"]  # fixtures
Change = Callable[[tarfile.TarFile], None]


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    put(tmp_path / "plain")
    (tmp_path / "plain/ant/.DS_Store").touch()
    return tmp_path / "plain"


def pack(plain: Path, target: Path, prefix: str = "Pets") -> Path:
    """Write the archive that the suffix of `target` names."""
    if target.suffix == ".zip":
        with zipfile.ZipFile(target, "w") as zipped:
            for path in sorted(plain.rglob("*.png")):
                zipped.write(path, f"{prefix}/{path.relative_to(plain)}")
            zipped.writestr("__MACOSX/Pets/ant/._00.png", b"\0")
    else:
        kind: Any = f"w:{target.suffix[1:].removeprefix('tar').replace('tgz', 'gz')}"
        with tarfile.open(target, kind) as tar:
            tar.add(plain, prefix)
    return target


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tgz", "a.tar.gz", "a.tar.xz", "a.tar.bz2", "A.ZIP"])
@pytest.mark.parametrize("inside", [False, True], ids=["the source itself", "alone in the folder"])
def test_an_archive_is_read_as_the_folder_in_it(
    workspace: Workspace, source: Path, plain: Path, name: str, inside: bool
) -> None:
    stage.run(wanted("folder", source=str(plain)), workspace)
    expected = dataset.describe(workspace.dataset)
    pack(plain, source / name.lower()).rename(source / name)
    (source / ".gitignore").touch()
    stage.run(wanted("folder", source="data/source" if inside else f"data/source/{name}"), workspace)
    found = dataset.describe(workspace.dataset)
    assert found.digest == expected.digest
    assert [file.name for file in found.sources] == [name]
    assert {path.name for path in workspace.dataset.iterdir()} == {"dataset.json", "train", "validation", "test"}
    names = dataset.file_names(workspace.dataset)
    assert names is not None
    assert all(file.startswith("Pets/") for split in names.values() for file in split)


def test_a_damaged_image_is_named_by_its_place_in_the_archive(workspace: Workspace, source: Path, plain: Path) -> None:
    (plain / "ant/00.png").write_bytes(b"")
    pack(plain, source / "a.zip")
    with pytest.raises(SourceError, match=r"data/source/a.zip/Pets/ant/00.png is empty"):
        stage.run(wanted("folder"), workspace)


def member(name: str, content: bytes = b"x", kind: bytes = tarfile.REGTYPE, link: str = "") -> Change:
    def add(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.type, info.linkname = len(content) if kind == tarfile.REGTYPE else 0, kind, link
        tar.addfile(info, io.BytesIO(content))

    return add


HOSTILE = {
    "above": (member("../../outside.png"), r"member '../../outside.png' leaves the folder that it is unpacked into"),
    "above, hidden": (member("Pets/ant/../../../outside.png"), "leaves the folder"),
    "absolute": (member("/outside.png"), "member '/outside.png' leaves the folder"),
    "drive": (member("C:/outside.png"), "leaves the folder"),
    "link": (member("Pets/ant/x.png", kind=tarfile.SYMTYPE, link="/etc/hostname"), "is a link to '/etc/hostname'"),
    "hard link": (member("Pets/ant/x.png", kind=tarfile.LNKTYPE, link="Pets/ant/00.png"), "is a link to"),
    "pipe": (member("Pets/ant/x.png", kind=tarfile.FIFOTYPE), "is neither a file nor a folder"),
    "device": (member("Pets/ant/x.png", kind=tarfile.CHRTYPE), "is neither a file nor a folder"),
    "twice": (member("Pets/ant/00.png"), "member 'Pets/ant/00.png' is there twice"),
    "nested": (member("Pets/more.tar.gz"), "member 'Pets/more.tar.gz' is an archive itself"),
    "newline": (member("Pets/a\nb.png"), r"member 'Pets/a\\nb.png' has a name that is not UTF-8"),
    "not UTF-8": (member("Pets/\udcff.png"), r"member 'Pets/\\udcff.png' has a name that is not UTF-8"),
    "file and folder": (member("Pets/ant/00.png/x.png"), "is a file and a folder at once"),
}


@pytest.mark.parametrize(("change", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_member_is_refused_before_anything_is_written(
    workspace: Workspace, source: Path, plain: Path, tmp_path: Path, change: Change, message: str
) -> None:
    with tarfile.open(source / "a.tar.gz", "w:gz", format=tarfile.GNU_FORMAT) as tar:
        tar.add(plain, "Pets")
        change(tar)
    before = {path for path in tmp_path.rglob("*") if ".cache" not in path.parts}
    (tmp_path / "unpacked").mkdir()
    with pytest.raises(SourceError, match=message):
        archive.unpack(source / "a.tar.gz", tmp_path / "unpacked")
    if "file and folder" not in message and "at once" not in message:
        assert not list((tmp_path / "unpacked").iterdir())
    shutil.rmtree(tmp_path / "unpacked")
    with pytest.raises(SourceError, match=message):
        stage.run(wanted("folder"), workspace)
    assert {path for path in tmp_path.rglob("*") if ".cache" not in path.parts} == before


def zip_with(path: Path, info: zipfile.ZipInfo, content: bytes = b"x", **changed: int) -> None:
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr(info, content, zipfile.ZIP_DEFLATED)
    for name, value in changed.items():
        packed = bytearray(path.read_bytes())
        place = packed.index(b"PK\1\2") + {"flags": 8, "size": 24}[name]
        packed[place : place + 4] = value.to_bytes(4, "little") if name == "size" else packed[place : place + 4]
        if name == "flags":
            packed[place] |= value
        path.write_bytes(packed)


def zip_link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("a/x.png")
    info.external_attr = 0o120777 << 16
    return info


def test_zip_members_that_cannot_be_accepted_are_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    path = tmp_path / "a.zip"
    for write, message in (
        (lambda: zip_with(path, zip_link()), "member 'a/x.png' is a link"),
        (lambda: zip_with(path, zipfile.ZipInfo("a/x.png"), flags=1), "member 'a/x.png' is encrypted"),
        (lambda: zip_with(path, zipfile.ZipInfo("..\\x.png")), r"member '../x.png' leaves the folder"),
        (lambda: zip_with(path, zipfile.ZipInfo("a/")), "holds no files"),
        (lambda: zip_with(path, zipfile.ZipInfo("a/x.png"), bytes(10**6), size=10), "is not an intact archive|holds more than"),
        (lambda: path.write_bytes(b"PK\3\4"), "is not an intact archive"),
        (lambda: path.write_bytes(b""), "is not an intact archive"),
    ):
        write()
        with pytest.raises(SourceError, match=message):
            archive.unpack(path, tmp_path / "out")
        shutil.rmtree(tmp_path / "out")
        (tmp_path / "out").mkdir()


def test_a_bomb_is_refused_by_what_it_promises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(archive, "_ALWAYS_FINE", 10**6)
    zip_with(tmp_path / "a.zip", zipfile.ZipInfo("a/x.bmp"), bytes(10**7))
    with pytest.raises(SourceError, match=r"unpacks to more than 1,0.*times its size: if it is no bomb, unpack it"):
        archive.unpack(tmp_path / "a.zip", tmp_path / "out")
    monkeypatch.setattr(archive, "_MAX_MEMBERS", 20)
    put(tmp_path / "many")
    for name in ("b.zip", "b.tar"):
        with pytest.raises(SourceError, match=r"holds more than 20 files: unpack it, and set ingest.source to the folder"):
            archive.unpack(pack(tmp_path / "many", tmp_path / name), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_tar_header_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 10**9
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + bytes(10**4))
    with pytest.raises(SourceError, match=r"a.tar is not an intact archive"):
        archive.unpack(tmp_path / "a.tar", tmp_path / "out")


def test_truncated_and_other_archives_are_named(workspace: Workspace, source: Path, plain: Path) -> None:
    path = pack(plain, source / "a.tar.gz")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(SourceError, match=r"data/source/a.tar.gz is not an intact archive \("):
        stage.run(wanted("folder"), workspace)
    path.rename(source / "a.rar")
    with pytest.raises(SourceError, match=r"a.rar is an archive, but neither .zip nor .tar"):
        stage.run(wanted("folder"), workspace)


def test_names_that_macos_and_windows_write_into_zip_files_are_understood(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        mac = zipfile.ZipInfo("x")
        mac.filename = "Käse/1.png".encode().decode("cp437")
        zipped.writestr(mac, b"x")
        zipped.writestr("Birne\\2.png", b"x")
    packed = (tmp_path / "a.zip").read_bytes()
    mangled = "Käse/1.png".encode().decode("cp437").encode()
    plain_name = "Käse/1.png".encode().ljust(len(mangled), b"_")
    assert mangled in packed
    (tmp_path / "a.zip").write_bytes(packed.replace(mangled, plain_name).replace(b"\x00\x08", b"\x00\x00"))
    archive.unpack(tmp_path / "a.zip", tmp_path / "out")
    assert {path.parent.name for path in (tmp_path / "out").rglob("*") if path.is_file()} == {"Käse", "Birne"}
