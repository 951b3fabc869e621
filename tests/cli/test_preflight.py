"""`config check` and `serve` check the same files, and report all errors at once."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from doorward.cli.main import app
from doorward.settings import Fault, InvalidSettings, run_checks
from doorward.settings.known import every_key, field_at
from typer.testing import CliRunner

# Every setting that names a file, with a file that cannot be used.
MISSING: dict[tuple[str, ...], dict[str, Any]] = {
    ("tls", "certificate"): {"tls": {"certificate": "gone.pem"}},
    ("tls", "key"): {"tls": {"certificate": "certificate.pem", "key": "gone.pem"}},
    ("data_dir",): {"data_dir": "doorward.yaml"},
    ("secret_files",): {"secret_files": ["gone.key"]},
    ("routes", "tls", "ca"): {"routes": [{"tls": {"ca": "gone.pem"}}]},
    ("routes", "tls", "certificate"): {"routes": [{"tls": {"certificate": "gone.pem"}}]},
    ("routes", "tls", "key"): {
        "routes": [{"tls": {"certificate": "certificate.pem", "key": "gone.pem"}}]
    },
    ("routes", "credentials", "basic", "password_file"): {
        "routes": [{"credentials": {"basic": {"username": "app", "password_file": "gone"}}}]
    },
    ("routes", "credentials", "bearer_file"): {
        "routes": [{"credentials": {"bearer_file": "gone"}}]
    },
    ("routes", "credentials", "form", "password_file"): {
        "routes": [
            {
                "credentials": {
                    "form": {
                        "url": "/login",
                        "fields": {"user": "{username}", "pass": "{password}"},
                        "username": "app",
                        "password_file": "gone",
                    }
                }
            }
        ]
    },
    ("routes", "maintenance"): {"routes": [{"maintenance": "gone.html"}]},
    ("htpasswd",): {"htpasswd": "gone"},
    ("audit", "file"): {"audit": {"file": "gone/audit.log"}},
    ("pages", "logo"): {"pages": {"logo": "gone.svg"}},
    ("pages", "translations"): {"pages": {"translations": "gone"}},
}


def names_a_file(annotation: Any) -> bool:
    return annotation is Path or any(map(names_a_file, get_args(annotation)))


def written(folder: Path, *settings: dict[str, Any]) -> Path:
    """A configuration with these settings and everything else that it needs."""
    whole: dict[str, Any] = {"routes": [{}], "public_url": "http://app.test"}
    for each in settings:
        whole |= each
    for route in whole["routes"]:
        scheme = "https" if "tls" in route else "http"
        route.setdefault("upstream", f"{scheme}://127.0.0.1:9")
    if "tls" in whole:
        whole["public_url"] = "https://app.test"
    file = folder / "doorward.yaml"
    file.write_text(yaml.safe_dump(whole))
    certificate = folder / "certificate.pem"
    certificate.write_text("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
    return file


def told(command: str, file: Path) -> list[str]:
    """A command's output for a configuration that cannot be served."""
    done = CliRunner().invoke(app, [*command.split(), "-c", str(file)])
    assert done.exit_code == 2 and done.stdout == "", done.output
    return done.stderr.splitlines()


def test_every_setting_that_names_a_file_is_tested() -> None:
    keys = {key for key in every_key() if names_a_file(getattr(field_at(key), "annotation", None))}
    assert keys == MISSING.keys()


@pytest.mark.parametrize("key", MISSING, ids=".".join)
def test_a_file_that_cannot_be_used_is_found_by_the_check(
    tmp_path: Path, key: tuple[str, ...]
) -> None:
    (line,) = told("config check", written(tmp_path, MISSING[key]))
    assert line.replace("[0]", "").startswith(key[0])
    assert "gone" in line or key == ("data_dir",)


@pytest.mark.parametrize("key", MISSING, ids=".".join)
@pytest.mark.parametrize("command", ["config check", "serve"])
def test_a_path_that_the_system_refuses_is_an_error_and_no_traceback(
    tmp_path: Path, key: tuple[str, ...], command: str
) -> None:
    too_long = "x" * 300
    text = written(tmp_path, MISSING[key]).read_text()
    file = tmp_path / "doorward.yaml"
    file.write_text(text.replace("gone", too_long).replace("doorward.yaml", too_long))
    assert any(too_long in line or key[-1] in line for line in told(command, file))


def test_check_and_serve_report_the_same_errors_at_once(tmp_path: Path) -> None:
    keys = [("htpasswd",), ("secret_files",), ("pages", "logo"), ("audit", "file")]
    faulty = [*(MISSING[key] for key in keys), {"routes": [{"maintenance": "gone.html"}]}]
    file = written(tmp_path, *faulty, {"tls": {"certificate": "gone.pem"}})
    found = told("config check", file)
    assert len(found) == 6
    assert told("serve", file) == found
    assert not (tmp_path / "data").exists()


def test_a_database_that_cannot_be_used_is_found_by_the_check(tmp_path: Path) -> None:
    file = written(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "doorward.db").write_text("no database")
    (line,) = told("config check", file)
    assert line.startswith("data_dir: ") and "is damaged" in line
    assert told("serve", file) == [line]


def test_a_missing_driver_of_the_database_is_found_by_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)  # makes `import asyncpg` fail
    file = written(tmp_path, {"storage": "postgresql://doorward@127.0.0.1:1/doorward"})
    for words in (["config", "check"], ["user", "list"]):
        done = CliRunner().invoke(app, [*words, "-c", str(file)])
        assert done.exit_code == 2
        assert "storage: PostgreSQL needs its driver; install" in done.stderr


def test_an_address_that_cannot_be_listened_on_from_here_is_a_warning(tmp_path: Path) -> None:
    """It is not an error: the file may be for another machine, or for a user with more
    privileges."""
    file = written(tmp_path, {"listen": "unix:gone/door.sock"})
    done = CliRunner().invoke(app, ["config", "check", "--strict", "-c", str(file)])
    assert done.exit_code == 0 and done.stdout == f"OK: {file}\n"
    assert done.stderr.startswith("warning: listen: cannot listen on unix:")
    done = CliRunner().invoke(app, ["config", "check", "--json", "-c", str(file)])
    assert len(json.loads(done.stdout)["warnings"]) == 1


def test_a_fault_that_two_checks_find_is_reported_once() -> None:
    def check(value: str) -> None:
        raise InvalidSettings([Fault("data_dir", None, value)])

    with pytest.raises(InvalidSettings) as caught:
        run_checks((check, check), "cannot be written to")
    assert len(caught.value.faults) == 1


def test_variables_that_override_the_file_are_listed(tmp_path: Path) -> None:
    file = written(tmp_path)
    told = CliRunner(env={"DOORWARD_WORKERS": "2"}).invoke(
        app, ["config", "check", "-c", str(file)]
    )
    assert told.stderr == "from the environment: DOORWARD_WORKERS\n"
    assert told.stdout == f"OK: {file}\n"
