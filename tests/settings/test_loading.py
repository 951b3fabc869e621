"""The sources of settings: the file, the environment, and files named in the environment."""

from __future__ import annotations

import ssl
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from doorward.settings import (
    InvalidSettings,
    Upstream,
    find_config_file,
    list_unbuilt_keys,
    load,
    load_settings,
    settings_from,
)
from doorward.settings.certificates import check_certificates

from .conftest import Faults, Load

ROUTE = "[{upstream: 'http://app:1'}]"


def test_everything_but_the_upstream_has_a_default(load: Load, tmp_path: Path) -> None:
    settings = load()
    assert str(settings.listen) == "127.0.0.1:8080"
    assert settings.public_url == settings.public_origin == "http://127.0.0.1:8080"
    assert settings.data_dir == tmp_path / "data"
    assert settings.routes[0].upstream == (Upstream("http", "app", 1),)
    assert settings.routes[0].identity == ("remote-user",)
    assert settings.sessions.idle_timeout == timedelta(hours=2)
    assert settings.dialects.xhr is None and settings.email is None
    assert not settings.secure_cookies
    assert settings.warnings == list_unbuilt_keys(settings) == ()


@pytest.mark.parametrize(
    "text",
    ["dialects: {xhr:}", "dialects: {xhr: }", "dialects:\n  xhr:\n", "dialects: {xhr: {}}"],
)
def test_a_named_dialect_takes_its_defaults(load: Load, text: str) -> None:
    xhr = load(text).dialects.xhr
    assert xhr is not None and xhr.cookie and xhr.cors.origins == ()


def test_each_dialect_has_its_own_lifetimes(load: Load) -> None:
    dialects = load("dialects: {xhr:, alekeagle:, datepoll:, rocketchat:}").dialects
    assert dialects.xhr and dialects.alekeagle and dialects.datepoll and dialects.rocketchat
    assert dialects.xhr.session_lifetimes() == (None, None)
    assert dialects.alekeagle.session_lifetimes() == (timedelta(30), timedelta(hours=87660))
    assert dialects.datepoll.session_lifetimes() == (timedelta(400), timedelta(400))
    assert dialects.rocketchat.session_lifetimes() == (timedelta(90), timedelta(90))


@pytest.mark.parametrize("word", ["off", "false", "no", '"off"', "none", "False"])
def test_off_is_off_however_it_is_written(load: Load, word: str) -> None:
    settings = load(
        f"admin_listen: {word}\nlimits: {{body_bytes: {word}}}\nsessions: {{idle_timeout: {word}}}"
        f"\nsecond_factor: {{remember_browser: {word}}}\ndialects: {{xhr: {word}}}"
    )
    assert settings.admin_listen is None and settings.limits.body_bytes is None
    assert settings.sessions.idle_timeout is None and settings.dialects.xhr is None
    assert settings.second_factor.remember_browser is None


def test_bare_words_are_strings(load: Load) -> None:
    settings = load("access: {rules: [{groups: [no, on, 2024-01-01, 0x1f, 12, 1e3, 1:30]}]}")
    groups = settings.access.rules[0].groups
    assert groups == ("no", "on", "2024-01-01", "0x1f", "12", "1e3", "1:30")


def test_one_value_needs_no_list_around_it(load: Load) -> None:
    rule = load("access: {rules: [{methods: GET, groups: a, networks: 10.0.0.1, host: A.b}]}")
    assert rule.access.rules[0].methods == ("GET",)
    assert rule.access.rules[0].groups == ("a",)
    assert rule.access.rules[0].networks == (ip_network("10.0.0.1"),)
    assert rule.access.rules[0].host == ("a.b",)


def test_a_rule_without_a_condition_is_allowed(load: Load) -> None:
    (rule,) = load("access: {rules: [{}]}").access.rules
    assert (rule.path, rule.host, rule.methods, rule.networks) == (None, (), (), ())
    assert rule.require == "authenticated"


@pytest.mark.parametrize("word", ["none", "off", "[]"])
def test_a_route_may_go_without_identity(load: Load, word: str) -> None:
    settings = load(f"routes: [{{upstream: 'http://a', identity: {word}}}]")
    assert settings.routes[0].identity == ()


def test_cookies_are_secure_if_the_public_url_is(load: Load) -> None:
    assert load("public_url: HTTPS://Wiki.example.com:443").secure_cookies
    settings = load("public_url: https://a\nsessions: {cookie: {secure: off}}")
    assert not settings.secure_cookies
    assert "sessions.cookie.secure" in settings.warnings[0]


def test_a_byte_order_mark_and_crlf_do_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"\xef\xbb\xbfworkers: 2\r\nroutes: [{upstream: 'http://a'}]\r\n")
    assert load_settings(file, {}).workers == 2


def test_anchors_within_reason_are_taken(load: Load) -> None:
    rules = "- {path: /a, groups: &g [x, y]}\n  - {path: /b, groups: *g}"
    settings = load(f"access:\n  rules:\n  {rules}")
    assert settings.access.rules[1].groups == ("x", "y")


def test_settings_do_not_change_and_do_not_print_their_secrets(load: Load) -> None:
    settings = load(
        "storage: postgresql://u:s3cret@h/db\nemail: {smtp: 'smtp://u:s3cret@h', from: a@b.de}"
    )
    assert "s3cret" not in repr(settings)
    assert settings.email and settings.email.from_ == "a@b.de"
    with pytest.raises(ValueError, match="frozen"):
        settings.workers = 5


# The environment.


def test_the_environment_overrides_the_file(load: Load) -> None:
    settings = load(
        "listen: 127.0.0.1:1\nsessions: {idle_timeout: 1h, lifetime: 5h}",
        DOORWARD_LISTEN="[::1]:2",
        DOORWARD_SESSIONS__IDLE_TIMEOUT="off",
        DOORWARD_SESSIONS__COOKIE__SAME_SITE="strict",
        DOORWARD_TRUSTED_PROXIES="[10.0.0.0/8]",
        DOORWARD_DIALECTS__XHR="{}",
        DOORWARD_WORKERS="3",
        DOORWARD_EMAIL="{smtp: 'smtp://h', from: a@b.de}",
        DOORWARD_EMAIL__SMTP="smtp://u:pa:{ss@h",
        DOORWARD_SECOND_FACTOR__ISSUER="The #1 & only",
    )
    assert str(settings.listen) == "[::1]:2"
    assert settings.sessions.idle_timeout is None
    assert settings.sessions.lifetime == timedelta(hours=5)
    assert settings.sessions.cookie.same_site == "strict"
    assert settings.trusted_proxies == (ip_network("10.0.0.0/8"),)
    assert settings.dialects.xhr is not None and settings.workers == 3
    assert settings.email and settings.email.smtp.get_secret_value() == "smtp://u:pa:{ss@h"
    assert settings.second_factor.issuer == "The #1 & only"


def test_a_configuration_can_be_only_in_the_environment(tmp_path: Path) -> None:
    environ = {"DOORWARD_ROUTES": '[{"upstream": "unix:app.sock"}]'}
    assert find_config_file(environ) is None
    settings = load_settings(None, environ)
    assert settings.file is None
    assert settings.routes[0].upstream[0].path == tmp_path / "app.sock"


@pytest.mark.parametrize("environ", [{}, {"DOORWARD_WORKERS": "2"}])
def test_a_missing_file_is_reported_with_the_searched_places(environ: dict[str, str]) -> None:
    with pytest.raises(InvalidSettings) as caught:
        load_settings(None, environ)
    assert str(caught.value) == (
        "No configuration file found (looked in ./doorward.yaml, /etc/doorward/doorward.yaml);"
        " create one or pass -c FILE"
    )


def test_variables_that_set_something_are_remembered_by_name(tmp_path: Path) -> None:
    file = tmp_path / "d.yaml"
    file.write_text(f"workers: 2\nroutes: {ROUTE}")
    environ = {
        "DOORWARD_WORKERS": "3",
        "DOORWARD_SESSIONS__LIFETIME": "12h",
        "DOORWARD_CONFIG": "x",
        "DOORWARD_LISTN": "x",
        "DOORWARD_LISTEN": "",
    }
    found = load_settings(file, environ)
    assert found.environment == ("DOORWARD_WORKERS", "DOORWARD_SESSIONS__LIFETIME")
    assert found.workers == 3


def test_a_fault_of_the_environment_names_its_variable(faults: Faults) -> None:
    found = faults(
        DOORWARD_WORKERS="0",
        DOORWARD_ACCESS__RULES="[{path: x}]",
        DOORWARD_LIMITS="{header_bytes: 1KiB, header_bytes: 1KiB}",
        DOORWARD_USERS="[",
    )
    assert {(fault.source, fault.key) for fault in found} == {
        ("DOORWARD_WORKERS", "workers"),
        ("DOORWARD_ACCESS__RULES", "access.rules[0].path"),
        ("DOORWARD_LIMITS", "limits.header_bytes"),
        ("DOORWARD_USERS", "users"),
    }


def test_the_environment_does_not_hide_a_fault_of_the_file(faults: Faults) -> None:
    (fault,) = faults("sessions: 5", DOORWARD_SESSIONS__LIFETIME="5h")
    assert fault.key == "sessions"


def test_unknown_variables_are_warned_about_but_not_those_of_kubernetes(load: Load) -> None:
    settings = load(
        DOORWARD_SESSIONS__LIFETME="5h",
        DOORWARD_LISTEN_FILES="x",
        DOORWARD_SERVICE_HOST="10.0.0.1",
        DOORWARD_SERVICE_PORT="80",
        DOORWARD_SERVICE_PORT_HTTP="80",
        DOORWARD_PORT="tcp://10.0.0.1:80",
        DOORWARD_PORT_80_TCP="tcp://10.0.0.1:80",
        DOORWARD_PORT_80_TCP_ADDR="10.0.0.1",
        DOORWARD_CONFIG="elsewhere",
        PATH="/bin",
    )
    assert [warning.split()[0] for warning in settings.warnings] == [
        "DOORWARD_LISTEN_FILES",
        "DOORWARD_SESSIONS__LIFETME",
    ]
    assert settings.warnings[1].endswith("did you mean DOORWARD_SESSIONS__LIFETIME?")


@pytest.mark.parametrize(
    "name",
    ["DOORWARD_ROUTES__UPSTREAM", "DOORWARD_ROUTES__0__UPSTREAM"],
)
def test_a_variable_for_a_part_of_a_list_names_the_one_for_the_list(load: Load, name: str) -> None:
    (warning,) = load(**{name: "http://127.0.0.1:8"}).warnings
    assert warning.startswith(f"{name} is not a setting")
    assert warning.endswith("set DOORWARD_ROUTES to the complete list")


def test_routes_in_the_environment_that_cannot_be_read_are_the_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not the missing file, which is not needed."""
    monkeypatch.chdir(tmp_path)
    for environ in ({"DOORWARD_ROUTES": "["}, {"DOORWARD_ROUTES_FILE": str(tmp_path / "gone")}):
        with pytest.raises(InvalidSettings) as caught:
            load_settings(None, environ)
        (fault,) = caught.value.faults
        assert fault.source == next(iter(environ)) and fault.key == "routes"


def test_an_empty_variable_counts_as_unset(load: Load) -> None:
    assert load("workers: 2", DOORWARD_WORKERS="", DOORWARD_NONSENSE="").workers == 2


def test_a_secret_may_come_from_a_file(load: Load, tmp_path: Path) -> None:
    secret = tmp_path / "storage"
    secret.write_bytes(b"postgresql://u:p@h/db\n")
    settings = load(DOORWARD_STORAGE_FILE=str(secret))
    assert settings.storage == "postgresql://u:p@h/db"


def test_the_url_of_a_database_can_name_several_servers(load: Load) -> None:
    url = "postgresql://u:p@a:5432,[::1]:5433,c/db?target_session_attrs=read-write"
    assert load(f"storage: '{url}'").storage == url


def test_a_secret_given_twice_is_an_error(faults: Faults, tmp_path: Path) -> None:
    (fault,) = faults(DOORWARD_STORAGE="sqlite", DOORWARD_STORAGE_FILE=str(tmp_path / "none"))
    assert fault.key == "storage" and "both set it" in fault.message


@pytest.mark.parametrize(
    ("content", "says"), [(None, "No such file"), (b"\xff", "UTF-8"), (b"x" * 2**21, "1 MiB")]
)
def test_an_unusable_secret_file_is_a_fault(
    faults: Faults, tmp_path: Path, content: bytes | None, says: str
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    (fault,) = faults(DOORWARD_STORAGE_FILE=str(file))
    assert fault.source == "DOORWARD_STORAGE_FILE" and says in fault.message


# Which file.


def test_the_file_is_looked_for_in_order(tmp_path: Path) -> None:
    assert find_config_file({}) is None
    (tmp_path / "doorward.yaml").write_text(f"routes: {ROUTE}\nworkers: 5")
    assert find_config_file({}) == Path("doorward.yaml")
    assert load_settings(None, {}).workers == 5
    (tmp_path / "other.yaml").write_text(f"routes: {ROUTE}\nworkers: 6")
    environ = {"DOORWARD_CONFIG": "other.yaml"}
    assert find_config_file(environ) == Path("other.yaml")
    assert load_settings(None, environ).workers == 6
    assert load_settings(tmp_path / "doorward.yaml", environ).workers == 5


def test_a_missing_named_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "doorward.yaml").write_text(f"routes: {ROUTE}")
    with pytest.raises(InvalidSettings, match="there is no such file"):
        load_settings(None, {"DOORWARD_CONFIG": "missing.yaml"})


def test_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    file = tmp_path / "etc" / "d.yaml"
    file.write_text(
        "secret_files: [../k, /k]\nroutes: [{upstream: 'unix:a.sock'}]\nadmin_listen: unix:b"
    )
    settings = load_settings(file, {})
    assert settings.data_dir == tmp_path / "etc" / "data"
    assert settings.secret_files == (tmp_path / "k", Path("/k"))
    assert str(settings.routes[0].upstream[0]) == f"unix:{tmp_path}/etc/a.sock"
    assert str(settings.admin_listen) == f"unix:{tmp_path}/etc/b"


def test_data_of_a_file_of_the_system_is_in_var_lib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    route = {"routes": [{"upstream": "http://a"}]}
    lib = Path("/var/lib/doorward")
    for directory in ("/etc", "/etc/doorward", "/etc/doorward/more"):
        assert settings_from(route, Path(directory)).data_dir == lib
    for directory in ("/etcetera", "/home/ada/etc", "/opt/doorward"):
        assert settings_from(route, Path(directory)).data_dir == Path(directory, "data")
    chosen = settings_from(route | {"data_dir": "./data"}, Path("/etc/doorward"))
    assert chosen.data_dir == Path("/etc/doorward/data")


def test_data_beside_a_file_of_the_system_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until 0.1, it was next to the file: a new, empty database would lock out every user."""
    etc, lib = tmp_path / "etc", tmp_path / "lib"
    monkeypatch.setattr(load, "_SYSTEM", etc)
    monkeypatch.setattr(load, "_SYSTEM_DATA", lib)
    before = etc / "doorward" / "data"
    before.mkdir(parents=True)
    route = {"routes": [{"upstream": "http://a"}]}
    assert settings_from(route, before.parent).data_dir == lib
    (before / "doorward.db").touch()
    with pytest.raises(InvalidSettings, match=r"data_dir: defaults to .*; move that folder"):
        settings_from(route, before.parent)
    assert settings_from(route | {"data_dir": "./data"}, before.parent).data_dir == before
    before.rename(lib)
    assert settings_from(route, before.parent).data_dir == lib


def test_settings_can_be_built_from_plain_data(tmp_path: Path) -> None:
    settings = settings_from({"routes": [{"upstream": "http://a"}]}, tmp_path)
    assert settings.data_dir == tmp_path / "data"
    with pytest.raises(InvalidSettings, match=r"^routes\[0\].upstream: is required"):
        settings_from({"routes": [{}]})


# What has no effect yet.

UNBUILT: list[tuple[str, list[str]]] = [
    ("workers: 2", []),
    ("limits: {body_bytes: 1MiB}", []),
    ("limits: {body_bytes: none}", []),
    ("fast_lane: true", []),
    ("access: {default: two_factor}", []),
    ("sessions: {max_per_user: 5}", []),
    ("second_factor: {issuer: x}", []),
    ("second_factor: {remember_browser: 30d}", []),
    ("regulation: {enabled: false}", []),
    ("email: {smtp: 'smtp://a', from: a@b.de}", []),
    ("dialects: {xhr:}", []),
    ("dialects: {rocketchat:}", []),
    ("dialects: {datepoll:, alekeagle:}", []),
    ("routes: [{upstream: 'https://a'}]", []),
    ("routes: [{upstream: ['http://a', 'http://b']}]", []),
]


@pytest.mark.parametrize(("text", "keys"), UNBUILT)
def test_settings_without_effect_are_reported(load: Load, text: str, keys: list[str]) -> None:
    assert list(list_unbuilt_keys(load(text))) == keys


@pytest.mark.parametrize(
    ("limit", "route", "bytes_"),
    [
        ("none", "auto", None),
        ("1KiB", "auto", 1024),
        ("1KiB", "none", None),
        ("1KiB", "off", None),
        ("none", "2KiB", 2048),
        ("1KiB", "2048", 2048),
    ],
)
def test_a_route_takes_the_limit_of_all_unless_it_has_its_own(
    load: Load, limit: str, route: str, bytes_: int | None
) -> None:
    routes = f"routes: [{{upstream: 'http://a', body_bytes: {route}}}]"
    settings = load(f"limits: {{body_bytes: {limit}}}\n{routes}")
    assert settings.body_bytes(settings.routes[0]) == bytes_


def test_the_systems_authorities_are_not_read_for_each_route(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That takes tens of milliseconds: a file with thousands of routes took minutes to check."""
    monkeypatch.setattr(ssl, "create_default_context", lambda: pytest.fail("they were read"))
    check_certificates(load("routes: [{upstream: 'http://a'}, {path: /b, upstream: 'https://b'}]"))
