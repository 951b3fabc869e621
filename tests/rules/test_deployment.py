"""The promises of the container files and the examples, tested by reading them.

No container engine is needed; the image's steps are plain pip and coreutils.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from doorward.settings import list_unbuilt_keys, load_settings

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
COMPOSE: dict[str, Any] = yaml.safe_load((EXAMPLES / "sidecar" / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]

every_service = pytest.mark.parametrize("service", SERVICES.values(), ids=list(SERVICES))


def dockerfile() -> list[tuple[str, str]]:
    """Instructions with their arguments, with continued lines joined and without comments."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.M)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line)]


def final_stage() -> dict[str, list[str]]:
    instructions = dockerfile()
    start = max(at for at, (word, _) in enumerate(instructions) if word == "FROM")
    stage: dict[str, list[str]] = {}
    for word, rest in instructions[start:]:
        stage.setdefault(word, []).append(rest)
    return stage


def test_the_image_keeps_no_build_stage_and_is_slim() -> None:
    bases = [rest for word, rest in dockerfile() if word == "FROM"]
    assert len(bases) == 2
    assert all("-slim" in base for base in bases)
    assert "COPY" not in final_stage(), "sources stay in the first stage"


def test_the_image_runs_as_a_numeric_user_other_than_root() -> None:
    (user,) = final_stage()["USER"]
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
    (run,) = final_stage()["RUN"]
    owner, group = user.split(":")
    assert f"-o {owner} -g {group} -m 0700 /data" in run


def test_the_image_keeps_its_data_in_a_volume_and_reads_etc_doorward() -> None:
    stage = final_stage()
    assert stage["VOLUME"] == ["/data"]
    environment = dict(pair.split("=", 1) for pair in " ".join(stage["ENV"]).split())
    assert environment["DOORWARD_DATA_DIR"] == "/data"
    assert environment["DOORWARD_CONFIG"] == "/etc/doorward/doorward.yaml"
    assert stage["EXPOSE"] == [environment["DOORWARD_LISTEN"].rpartition(":")[2]]


def test_the_image_says_how_it_is_started_stopped_and_asked_for_its_health() -> None:
    stage = final_stage()
    assert stage["ENTRYPOINT"] == ['["doorward"]']
    assert stage["CMD"] == ['["serve"]']
    assert stage["STOPSIGNAL"] == ["SIGTERM"]
    assert stage["HEALTHCHECK"][0].endswith('CMD ["doorward", "health"]')


def test_the_build_context_has_only_what_the_image_copies() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert next(line for line in lines if not line.startswith("#")) == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    copied = {name for word, rest in dockerfile() if word == "COPY" for name in rest.split()[:-1]}
    assert let_in == copied


def test_the_application_of_the_sidecar_publishes_no_port_and_sees_no_outer_network() -> None:
    legacy = SERVICES["legacy"]
    assert "ports" not in legacy
    assert "network_mode" not in legacy
    assert all(COMPOSE["networks"][name]["internal"] is True for name in legacy["networks"])


def test_only_doorward_is_on_both_networks() -> None:
    doorward = SERVICES["doorward"]
    assert set(doorward["networks"]) > set(SERVICES["legacy"]["networks"])
    assert all(port.startswith("127.0.0.1:") for port in doorward["ports"])


@every_service
def test_a_container_of_the_sidecar_has_nothing_it_does_not_need(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service and "cap_add" not in service


def test_the_key_is_a_secret_that_git_never_sees() -> None:
    path = Path(COMPOSE["secrets"]["doorward_key"]["file"])
    ignored = (EXAMPLES / "sidecar" / ".gitignore").read_text().splitlines()
    assert f"{path.parent}/" in ignored
    settings = load_settings(EXAMPLES / "sidecar" / "doorward.yaml", {})
    assert settings.secret_files == (Path("/run/secrets/doorward_key"),)


@pytest.mark.parametrize(
    "path", sorted(EXAMPLES.glob("*/doorward.yaml")), ids=lambda p: p.parent.name
)
def test_the_configuration_of_an_example_is_valid(path: Path) -> None:
    settings = load_settings(path, {})
    assert not list_unbuilt_keys(settings)


def test_the_sidecar_s_upstream_is_the_service_that_publishes_nothing() -> None:
    settings = load_settings(EXAMPLES / "sidecar" / "doorward.yaml", {})
    (upstream,) = settings.routes[0].upstream
    assert upstream.host == "legacy"
    assert str(upstream.port) == SERVICES["legacy"]["command"][-1]


@pytest.mark.outside
@pytest.mark.parametrize("script", [".ci/run", "examples/radicale/run.sh"])
def test_a_shell_script_is_executable_strict_and_parses(script: str) -> None:
    path = ROOT / script
    assert path.stat().st_mode & 0o111
    assert "set -euo pipefail" in path.read_text()
    subprocess.run(["bash", "-n", path], check=True)


@pytest.mark.outside
def test_make_without_a_target_describes_every_target() -> None:
    told = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for target in ("demo", "test", "check", "format", "bench", "run", "constraints"):
        assert re.search(rf"^  make {target} +[A-Z].*\.$", told, re.M), target
