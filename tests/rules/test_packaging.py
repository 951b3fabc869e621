"""The built packages are complete: source distribution, wheel, versions in the image."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import doorward
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Files in git that a source distribution does not need.
LEFT_OUT = re.compile(r"tests/clients/node_modules/")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with both distributions, built from a copy of the files in git."""
    source, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("made")
    for name in known():
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_symlink():
            target.symlink_to((ROOT / name).readlink())
        else:
            target.write_bytes((ROOT / name).read_bytes())
    build(source, made, "--sdist", "--wheel", DOORWARD_EXTENSION="required")
    return made


def build(source: Path, made: Path, *kinds: str, **environ: str) -> None:
    command = [sys.executable, "-m", "build", "--no-isolation", *kinds, "--outdir", str(made)]
    environment = {**os.environ, **environ}
    done = subprocess.run([*command, str(source)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def unpack(wheel: Path, folder: Path) -> None:
    zipfile.ZipFile(wheel).extractall(folder)  # noqa: S202 - built here


def known() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


@pytest.mark.outside
def test_a_source_distribution_has_every_file_of_a_clone(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        held = {name.partition("/")[2]: tar.getmember(name) for name in tar.getnames()}
    assert not {name for name in known() if not LEFT_OUT.match(name)} - held.keys()
    assert not [name for name, member in held.items() if member.issym() or "__pycache__" in name]


@pytest.mark.outside
def test_a_wheel_has_only_the_package_and_its_data(built: Path) -> None:
    (archive,) = built.glob("*.whl")
    wheel = zipfile.ZipFile(archive)
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in names} == {"doorward"}
    package = {name.removeprefix("proxy/") for name in known() if name.startswith("proxy/")}
    (extension,) = names - package
    assert re.fullmatch(r"doorward/http1/_heads\.[\w.-]+\.(so|pyd)", extension)
    assert names - {extension} == package
    example = wheel.read("doorward/settings/doorward.yaml")
    assert example == (ROOT / "config" / "doorward.yaml").read_bytes()


@pytest.mark.outside
def test_without_a_compiler_a_wheel_is_whole_but_for_the_extension(
    built: Path, tmp_path: Path
) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    build(source, tmp_path, "--wheel", CC="false", DOORWARD_EXTENSION="")
    (bare,), (compiled,) = tmp_path.glob("*.whl"), built.glob("*.whl")
    missing = set(zipfile.ZipFile(compiled).namelist()) - set(zipfile.ZipFile(bare).namelist())
    assert [Path(name).name.partition(".")[0] for name in missing] == ["_heads"]


@pytest.mark.outside
@pytest.mark.parametrize(
    ("pure", "told"),
    [("", "compiled"), ("1", "python (as DOORWARD_PURE_PYTHON asks)")],
)
def test_an_installed_wheel_says_which_head_reader_runs(
    built: Path, tmp_path: Path, pure: str, told: str
) -> None:
    (archive,) = built.glob("*.whl")
    unpack(archive, tmp_path)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from doorward.cli import main; "
    code += "sys.argv = ['doorward', '--version']; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "DOORWARD_PURE_PYTHON": pure},
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == f"doorward {doorward.__version__}\nheads: {told}\n"


@pytest.mark.outside
def test_an_extension_of_another_source_does_not_count(built: Path, tmp_path: Path) -> None:
    (archive,) = built.glob("*.whl")
    unpack(archive, tmp_path)
    (tmp_path / "doorward/http1/_heads.pyx").write_text("# changed since\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
    code += "from doorward.http1 import heads; print(heads.__file__, heads.DESCRIPTION)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "DOORWARD_PURE_PYTHON": ""},
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    file, _, told = done.stdout.strip().partition(" ")
    assert Path(file).is_relative_to(tmp_path)
    assert told == "python (the extension is of another version; install Doorward again)"


def needed(requirement: Requirement, seen: set[str]) -> Iterator[str]:
    """The names of a distribution and of its dependencies on this platform."""
    name = canonicalize_name(requirement.name)
    if name in seen:
        return
    seen.add(name)
    yield name
    for text in distribution(name).requires or ():
        inner = Requirement(text)
        extras = requirement.extras or {""}
        if inner.marker is None or any(inner.marker.evaluate({"extra": e}) for e in extras):
            yield from needed(inner, seen)


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def test_all_dependencies_are_pinned_to_allowed_versions() -> None:
    versions = pinned()
    assert (
        not set(needed(Requirement("doorward[postgresql]"), set())) - versions.keys() - {"doorward"}
    )
    for text in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["postgresql"]]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), text


def test_the_image_is_built_with_the_pinned_versions_and_says_which_it_is() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "pip wheel --no-cache-dir --constraint constraints.txt" in dockerfile
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', dockerfile))
    assert labels["version"] == doorward.__version__
    assert labels["licenses"] == PROJECT["license"]
    assert {"title", "description", "revision"} <= labels.keys()


@pytest.mark.outside
def test_the_description_for_package_indexes_has_no_local_images(built: Path) -> None:
    (archive,) = built.glob("*.whl")
    wheel = zipfile.ZipFile(archive)
    (metadata,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    shown = wheel.read(metadata).decode()
    assert "# Doorward" in shown and "Description-Content-Type: text/markdown" in shown
    assert not re.findall(r"!\[[^]]*\]\((?!https://)", shown)
