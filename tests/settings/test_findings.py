"""Valid settings that `config check` reports, and those that it does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from doorward.cli.main import app
from doorward.settings import list_findings, load_settings, settings_from
from typer.testing import CliRunner


def found(*rules: dict[str, Any], **values: Any) -> list[str]:
    chosen = {"routes": [{"upstream": "http://127.0.0.1:9"}]} | values
    settings = settings_from(chosen | {"access": {"rules": list(rules)}})
    return [str(each) for each in list_findings(settings)]


READ = ["GET", "HEAD"]
PUBLIC = {"require": "public", "methods": READ}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"path": "/a/*"}, {"path": "/a/b"}),
        ({"path": "/a/*"}, {"path": "/a"}),
        ({"path": "/*"}, {"path_regex": "^/a$"}),
        ({}, {"preset": "public-assets"}),
        ({"path": "/*/b"}, {"path": "/a/b"}),
        ({"path": "/a", "methods": READ}, {"path": "/a", "methods": ["GET"]}),
        ({"host": "*.a.test"}, {"host": ["b.a.test", "*.b.a.test"]}),
        ({"networks": "10.0.0.0/8"}, {"networks": ["10.1.0.0/16", "10.2.3.4"]}),
        ({"path_regex": "^/a$"}, {"path_regex": "^/a$", "methods": ["PUT"]}),
        ({"preset": "public-assets"}, {"preset": "public-assets"}),
    ],
)
def test_a_rule_that_never_applies_is_found(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert found(first, second) == [
        "access.rules[1]: never applies, because access.rules[0] already decides all its requests;"
        " move it up, or remove it"
    ]
    if first != second:
        assert not [text for text in found(second, first) if "never applies" in text]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"path": "/a/b"}, {"path": "/a/*"}),
        ({"path": "/a"}, {"path": "/a/"}),
        ({"path": "/a/*/c"}, {"path": "/a/b/*"}),
        ({"path": "/a", "methods": ["GET"]}, {"path": "/a"}),
        ({"path": "/a", "host": "a.test"}, {"path": "/a"}),
        ({"path": "/a", "networks": "10.0.0.0/8"}, {"path": "/a", "networks": "fd00::/8"}),
        ({"path_regex": "^/a$"}, {"path": "/a"}),
        ({"host": "a.test"}, {"host": "*.test"}),
        (PUBLIC | {"path": "/public/*"}, {"path": "/*", "require": "two_factor"}),
        (PUBLIC | {"path": "/public/*"}, {"path": "/admin/*", "groups": ["admins"]}),
        ({"preset": "public-assets"}, {"path": "/admin/*", "groups": ["admins"]}),
    ],
)
def test_sound_rules_have_no_findings(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert found(first, second) == []


@pytest.mark.parametrize(
    ("weak", "strong"),
    [
        (PUBLIC | {"path": "/a/*"}, {"path": "/a/b", "groups": ["x"]}),
        (PUBLIC | {"path": "/*/b"}, {"path": "/a/*", "groups": ["x"]}),
        ({"path": "/a/*", "networks": "10.0.0.0/8"}, {"path": "/a/b", "require": "two_factor"}),
        ({"path": "/a/*", "methods": ["GET"]}, {"path": "/a/b/*", "require": "deny"}),
        (
            {"path": "/a/*", "methods": ["GET"], "any": [{"require": "two_factor"}, {}]},
            {"path": "/a/b", "groups": ["x"]},
        ),
    ],
)  # fmt: skip
def test_a_rule_that_a_weaker_one_decides_part_of_is_found(
    weak: dict[str, Any], strong: dict[str, Any]
) -> None:
    assert found(weak, strong) == [
        "access.rules[1]: requires more than access.rules[0], which already decides some requests;"
        " move it up, or make the other one narrower"
    ]
    assert found(strong, weak) == []


def test_a_rule_of_a_route_that_takes_other_paths_is_found() -> None:
    rules = [{"path": "/admin/*"}, {"path": "/wiki/*"}]
    route = {"path": "/wiki", "upstream": "http://a", "rules": rules}
    (finding,) = found(routes=[route])
    assert finding.startswith("routes[0].rules[0]: never applies, because the route only has /wiki")


@pytest.mark.parametrize(
    ("path", "other"),
    [
        ("//x", "/x"),
        ("/a//*", "/a/*"),
        ("/a;b", "/a"),
        ("/%41/*", "/A/*"),
        ("/a%2Fb", "/a/b"),
        ("/a%5Cb", "/a/b"),
        ("/a%3Fb", "/a"),
        ("/%2541", "/A"),
    ],
)
def test_a_path_that_can_be_read_in_two_ways_is_found(path: str, other: str) -> None:
    message = f"never applies, because {path} can also be read as {other}; write {other}"
    expression = "a path_regex that matches every reading"
    assert found({"path": path}) == [f"access.rules[0].path: {message}, or {expression}"]
    if "*" not in path:
        assert found(routes=[{"upstream": "http://a", "path": path}]) == [
            f"routes[0].path: {message}"
        ]


@pytest.mark.parametrize("path", ["/caf%C3%A9/*", "/my%20files", "/100%25", "/*/b", "/a@b,c=d"])
def test_a_path_that_can_be_read_in_one_way_is_not_found(path: str) -> None:
    assert found({"path": path}) == []


def test_an_expression_that_looks_unanchored_is_found() -> None:
    assert found({"path_regex": "^/u/[0-9]+"}) == [
        "access.rules[0].path_regex: is not anchored, but a pattern always has to match the whole"
        " path;"
        " write it as ^…$"
    ]


def test_a_public_rule_for_some_networks_is_not_found() -> None:
    assert found({"path": "/a", "require": "public", "networks": ["192.168.0.0/16"]}) == []


@pytest.mark.parametrize("methods", [None, ["GET", "POST"], ["DELETE"]])
def test_a_public_rule_for_writing_is_found(methods: list[str] | None) -> None:
    rule = {"path": "/a", "require": "public"} | ({} if methods is None else {"methods": methods})
    assert found(rule) == [
        "access.rules[0]: also lets everybody write; add methods: [GET, HEAD] to allow reading only"
    ]


def test_a_very_large_trusted_network_is_found() -> None:
    sound = ["10.0.0.0/8", "192.0.2.0/24", "fd00::/8", "2001:db8::/32"]
    assert found(trusted_proxies=sound) == []
    (finding,) = found(trusted_proxies=["203.0.0.0/12"])
    assert finding.startswith("trusted_proxies[0]: 203.0.0.0/12 is far larger")


FILE = """\
routes: [{upstream: 'http://127.0.0.1:9'}]
data_dir: .
access:
  rules:
    - path: /a/*
    - path: /a/b
"""


def test_a_finding_has_its_line_and_strict_makes_it_an_error(tmp_path: Path) -> None:
    file = tmp_path / "doorward.yaml"
    file.write_text(FILE)
    assert [each.line for each in list_findings(load_settings(file, {}))] == [6]
    check = ["config", "check", "-c", str(file)]
    lax, strict, shown = (
        CliRunner().invoke(app, [*check, *more]) for more in ([], ["--strict"], ["--json"])
    )
    assert lax.exit_code == 0 and f"finding: {file}:6: access.rules[1]: never" in lax.stderr
    assert strict.exit_code == 2 and "access.rules[1]: never applies" in strict.stderr
    assert json.loads(shown.stdout)["findings"][0]["key"] == "access.rules[1]"
