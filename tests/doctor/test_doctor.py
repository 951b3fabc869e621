"""The doctor reports every problem, and nothing else."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from doorward.cli.main import app
from doorward.doctor.checkups import Visit, examine
from doorward.doctor.findings import Checkup, Finding
from doorward.doctor.host import check_database
from doorward.doctor.login_forms import check_login_forms
from doorward.settings import Settings, settings_from
from doorward.storage.database import DATABASE_FILE
from doorward.storage.inspection import FILES
from typer.testing import CliRunner

from tests.support.application import Habits, application
from tests.support.certificates import Authority
from tests.support.live import Live, free_port
from tests.support.mail_server import serving
from tests.support.origin import Origin
from tests.support.savings import migrated
from tests.support.wire import Wire

pytestmark = pytest.mark.outside

SOUND = {"public_url": "http://localhost:8080"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    return migrated(data)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


Serve = Callable[..., str]


@pytest.fixture
def serve(stack: ExitStack) -> Serve:
    """Start an application with these habits; its URL."""

    def start(**habits: Any) -> str:
        return f"http://127.0.0.1:{stack.enter_context(application(Habits(**habits)))}"

    return start


def settings(folder: Path, upstream: str, **values: Any) -> Settings:
    chosen = SOUND | {"data_dir": str(folder), "routes": [{"upstream": upstream}]} | values
    return settings_from(chosen, folder)


async def found(
    chosen: Settings, *, addresses: tuple[str, ...] = (), **visit: Any
) -> dict[str, Any]:
    checkups = await examine(Visit(chosen, **visit), addresses)
    return {each.name: each.findings for each in checkups if each.findings}


def only(found: dict[str, tuple[Finding, ...]], check: str) -> Finding:
    """The only finding."""
    assert list(found) == [check], found
    (finding,) = found[check]
    assert finding.advice
    return finding


async def test_a_sound_installation_has_no_findings(folder: Path, serve: Serve) -> None:
    async with serving() as mail:
        email = {"smtp": f"smtp://127.0.0.1:{mail.port}", "from": "d@app.test"}
        rules = [{"preset": "public-assets"}, {"path": "/admin/*", "groups": ["admins"]}]
        access = {"rules": rules}
        chosen = settings(folder, serve(), email=email, access=access)
        assert await found(chosen, addresses=("127.0.0.2",)) == {}


# Cases with one fault


async def test_1_a_rule_that_never_applies(folder: Path, serve: Serve) -> None:
    rules = [{"path": "/a/*"}, {"path": "/a/b"}]
    finding = only(await found(settings(folder, serve(), access={"rules": rules})), "rules")
    assert "access.rules[1] never applies" in finding.message


async def test_2_a_key_that_others_can_read(folder: Path, serve: Serve) -> None:
    key = folder / "doorward.key"
    key.write_text("A" * 43 + "\n")
    key.chmod(0o644)
    finding = only(await found(settings(folder, serve())), "keys")
    assert "mode 0644" in finding.message and "chmod 600" in finding.advice


async def test_3_a_folder_that_others_can_look_into(folder: Path, serve: Serve) -> None:
    folder.chmod(0o755)
    finding = only(await found(settings(folder, serve())), "keys")
    assert "0755" in finding.message and "chmod 700" in finding.advice


async def test_4_a_database_that_is_damaged(folder: Path, serve: Serve) -> None:
    file = folder / DATABASE_FILE
    with file.open("r+b") as opened:
        for page in range(2, 12):
            opened.seek(page * 4096)
            opened.write(b"\xa5" * 4096)
    findings = (await found(settings(folder, serve())))["database"]
    assert "damaged" in findings[0].message or "cannot be read" in findings[0].message


async def test_a_file_that_is_no_database_is_one_finding(folder: Path, serve: Serve) -> None:
    (folder / DATABASE_FILE).write_bytes(b"a text of no database. " * 500)
    finding = only(await found(settings(folder, serve())), "database")
    assert "damaged" in finding.message


@pytest.mark.parametrize("name", FILES)
async def test_a_file_that_the_server_cannot_use_is_one_finding(
    folder: Path, serve: Serve, name: str
) -> None:
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir()
    finding = only(await found(settings(folder, serve())), "database")
    assert str(folder / name) in finding.message and "backup" not in finding.advice


async def test_5_a_database_of_a_later_release(folder: Path, serve: Serve) -> None:
    with closing(sqlite3.connect(folder / DATABASE_FILE)) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()
    finding = only(await found(settings(folder, serve())), "database")
    assert "version 9999" in finding.message


def test_6_a_disk_that_is_nearly_full(folder: Path) -> None:
    (finding,) = check_database(settings(folder, "http://a"), least_free_bytes=1 << 62)
    assert "MiB are free" in finding.message


async def test_7_a_cookie_that_travels_in_the_clear(folder: Path, serve: Serve) -> None:
    chosen = settings(folder, serve(), public_url="http://wiki.test")
    assert "unencrypted" in only(await found(chosen), "cookie").message


async def test_8_a_proxy_that_nobody_trusts(folder: Path, serve: Serve) -> None:
    chosen = settings(folder, serve(), public_url="https://wiki.test")
    assert "trusted_proxies" in only(await found(chosen), "trusted proxies").advice
    trusting = {"public_url": "https://wiki.test", "trusted_proxies": ["10.0.0.1"]}
    assert await found(settings(folder, serve(), **trusting)) == {}


async def test_9_an_application_that_is_not_there(folder: Path) -> None:
    finding = only(await found(settings(folder, f"http://127.0.0.1:{free_port()}")), "upstreams")
    assert "routes[0].upstream[0]" in finding.message and "start the application" in finding.advice


async def test_10_a_certificate_that_nobody_vouches_for(
    folder: Path, stack: ExitStack, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    context = authority.serving(authority.issue("127.0.0.1"))
    port = stack.enter_context(application(tls=context))
    finding = only(await found(settings(folder, f"https://127.0.0.1:{port}")), "upstreams")
    assert "certificate" in finding.message and "tls.ca" in finding.advice


async def test_11_a_clock_that_is_wrong(folder: Path, serve: Serve) -> None:
    finding = only(await found(settings(folder, serve(clock_ahead_s=3600))), "clock")
    assert "3600 s ahead" in finding.message or "3599 s ahead" in finding.message


async def test_12_an_application_that_answers_around_doorward(
    folder: Path, stack: ExitStack, serve: Serve
) -> None:
    url = serve()
    port = int(url.rpartition(":")[2])
    stack.enter_context(application(place=("127.0.0.2", port)))
    finding = only(await found(settings(folder, url), addresses=("127.0.0.2",)), "around")
    assert f"answers at 127.0.0.2 port {port}" in finding.message


async def test_13_a_mail_server_that_takes_no_mail(folder: Path, serve: Serve) -> None:
    email = {"smtp": f"smtp://127.0.0.1:{free_port()}", "from": "d@app.test"}
    finding = only(await found(settings(folder, serve(), email=email)), "mail")
    assert "cannot be used" in finding.message


async def test_14_an_address_that_is_not_the_public_one(folder: Path, serve: Serve) -> None:
    url = serve()
    findings = (await found(settings(folder, url), url=url))["address"]
    said = " ".join(finding.message for finding in findings)
    assert f"users open {url}" in said and "not Doorward: /.doorward/healthz is 404" in said


async def test_15_an_address_where_nothing_answers(folder: Path, serve: Serve) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    chosen = settings(folder, serve(), public_url=url)
    assert "does not answer" in only(await found(chosen, url=url), "address").message


COOKIE = "doorward=x; Path=/; Domain=app.test"
LOOPING = {
    "/.doorward/healthz": (200, {}),
    "/.doorward/login": (303, {"Location": "/", "Set-Cookie": COOKIE}),
    "/": (303, {"Location": "/.doorward/login?rd=/"}),
}


async def test_16_a_login_that_leads_to_the_login(folder: Path, serve: Serve) -> None:
    url = serve(answers=LOOPING)
    chosen = settings(folder, serve(), public_url=url)
    findings = (await found(chosen, url=url, username="ada", password="x"))["login"]
    said = [finding.message for finding in findings]
    assert said == [
        "the cookie doorward has Domain=app.test",
        "after the login / redirects to the login again",
    ]


async def test_17_a_cookie_that_browsers_drop(folder: Path) -> None:
    from doorward.doctor.public import _judge_cookies

    line = "__Host-doorward=x; Path=/; Secure; HttpOnly"
    (finding,) = _judge_cookies("http://wiki.test", [line])
    assert "browsers drop the cookie __Host-doorward" in finding.message
    assert not list(_judge_cookies("https://wiki.test", [line]))
    assert len(list(_judge_cookies("https://wiki.test", []))) == 1


# How application servers read headers


@pytest.mark.parametrize(
    ("habits", "said"),
    [
        ({"marks": "-_"}, "reads If_None_Match as If-None-Match"),
        ({"marks": "-_."}, "reads If_None_Match and If.None.Match as If-None-Match"),
        ({"ignores_parameters": True}, "ignores everything after a ;"),
        ({"decodes_twice": True}, "decodes paths twice"),
        ({"obeys_override": True}, "takes another method from X-HTTP-Method-Override"),
    ],
)
async def test_the_header_folding_of_a_server_is_a_note(
    folder: Path, serve: Serve, habits: dict[str, Any], said: str
) -> None:
    route = {"upstream": serve(**habits), "health": {"path": "/health"}}
    finding = only(await found(settings(folder, "", routes=[route])), "folding")
    assert finding.is_note and said in finding.message


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({}, None),
        ({"page": "/moved"}, None),
        ({"page": "/nowhere"}, "its page /nowhere answers 404"),
        ({"page": "/silent"}, "the login page /silent was not complete in time"),
        (
            {"url": "/other", "fields": {"pw": "{password}"}},
            "its page /login has no form that leads to /other or has the field pw",
        ),
    ],
)
async def test_a_login_form_that_is_not_where_it_should_be(
    folder: Path, form: dict[str, Any], said: str | None
) -> None:
    """For the host of its route, and nothing is sent but GET."""
    page = b"<form action=/login method=post><input name=pass></form>"
    kind = b"Content-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(page)
    answers = {
        b"/login": b"HTTP/1.1 200 OK\r\n" + kind + page,
        b"/moved": b"HTTP/1.1 302 X\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
    }

    def script(wire: Wire) -> None:
        while head := wire.head():
            target = head.split(b" ")[1]
            if target == b"/silent":
                wire.rest()
            else:
                wire.send(answers.get(target, b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n"))

    chosen = {"url": "/login", "page": "/login", "fields": {"pass": "{password}"}} | form

    never = "100ms"  # for the page that is never there
    with Origin((script,)) as origin:
        route = {
            "host": "shop.test",
            "upstream": origin.url,
            "credentials": {"form": chosen},
            "timeouts": {"response": never if chosen["page"] == "/silent" else "1h"},
        }
        findings = await check_login_forms(settings(folder, "", routes=[route]))
        assert [one.message for one in findings] == (
            [] if said is None else [f"routes[0].credentials.form: {said}"]
        )
        for head in origin.heads:
            assert head.startswith(b"GET ") and b"\r\nhost: shop.test\r\n" in head
            assert b"\r\nuser-agent: doorward-doctor\r\n" in head


# The command


def test_it_checks_a_live_installation_and_logs_in(tmp_path: Path, stack: ExitStack) -> None:
    upstream = f"http://127.0.0.1:{stack.enter_context(application())}"
    with Live(tmp_path, upstream) as live:
        url = f"http://{live.host}"
        run = CliRunner().invoke
        add = ["user", "add", "ada", "--password-stdin", "-c", str(live.config)]
        assert run(app, add, input="correct horse battery\n").exit_code == 0
        words = [
            "doctor",
            "-c",
            str(live.config),
            "--url",
            url,
            "--user",
            "ada",
            "--password-stdin",
        ]
        right, wrong = (run(app, words, input=f"{one}\n") for one in ("correct horse battery", "x"))
    assert right.exit_code == 0, right.output
    assert "ok      login" in right.stdout and "WRONG" not in right.stdout
    assert wrong.exit_code == 1 and "is answered 401" in wrong.stdout


def test_it_prints_json_and_says_what_it_skipped(folder: Path, serve: Serve) -> None:
    file = folder / "doorward.yaml"
    chosen = {"data_dir": ".", "routes": [{"upstream": serve()}]}
    file.write_text(json.dumps(chosen))
    done = CliRunner().invoke(app, ["doctor", "--json", "-c", str(file)])
    found = {each["check"]: each for each in json.loads(done.stdout)}
    assert found["upstreams"] == {
        "check": "upstreams", "ok": True, "skipped": None, "findings": [],
    }  # fmt: skip
    assert found["address"]["skipped"].startswith("use --url")


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--user", "a"], "needs --url"), (["--url", "wiki"], "not an http or https URL")],
)
def test_wrong_options_are_reported(folder: Path, words: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["doctor", *words, "-c", str(folder / "none.yaml")])
    assert done.exit_code == 2 and said in done.stderr


# Forward-auth


ASKING = {
    "trusted_proxies": ["127.0.0.1/32"],
    "routes": [{}],
    "forward_auth": {"hosts": ["localhost"]},
    "access": {"rules": [{"path": "/public/*", "methods": ["GET"], "require": "public"}]},
}


def asked(folder: Path, **values: Any) -> Settings:
    return settings_from(SOUND | {"data_dir": str(folder)} | ASKING | values, folder)


async def test_18_front_proxies_that_are_not_trusted(folder: Path) -> None:
    finding = only(await found(asked(folder, trusted_proxies=[])), "rules")
    assert "trusted_proxies" in finding.message


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, {}), "opens without a login"),
        ((500, {}), "cannot reach Doorward"),
        ((302, {"Location": "http://elsewhere.test/login"}), "redirects to http://elsewhere.test"),
        ((302, {"Location": "http://localhost:8080/.doorward/login?rd=/"}), None),
        ((401, {}), None),
    ],
)
async def test_19_a_front_proxy_that_does_not_ask(
    folder: Path, serve: Serve, answer: tuple[int, dict[str, str]], said: str | None
) -> None:
    answers = {"/": answer, "/public/": (200, {})}
    url = serve(answers=answers).replace("127.0.0.1", "localhost")
    findings = await found(asked(folder), url=url)
    if said is None:
        assert findings == {}
    else:
        assert said in only(findings, "address").message
    assert await found(asked(folder), url=f"{url}/public/") == {}


async def test_20_a_host_that_the_login_does_not_reach(folder: Path, serve: Serve) -> None:
    chosen = asked(folder, forward_auth={"hosts": ["localhost"], "portal": "http://auth.test"})
    url = serve(answers={"/": (401, {})}).replace("127.0.0.1", "localhost")
    message = (await found(chosen, url=url))["address"][0].message
    assert message == "a login at http://auth.test is not valid for localhost"


async def test_21_a_cookie_whose_domain_is_not_the_one_of_the_settings(
    folder: Path, serve: Serve
) -> None:
    """The cookie in the settings is correct."""
    told = {
        "doorward=t; Path=/; Domain=app.test": None,
        "doorward=t; Path=/; Domain=test": "Domain=test",
        "doorward=t; Path=/": "no Domain, which should be app.test",
        "doorward=; Max-Age=0; Path=/": None,
        "doorward-form=t; Path=/.doorward/": None,
    }
    for line, said in told.items():
        answers = {"/.doorward/login": (303, {"Location": "/", "Set-Cookie": line})}
        url = serve(answers=answers)
        chosen = settings(
            folder,
            serve(),
            public_url="http://app.test",
            sessions={"cookie": {"domain": "app.test"}},
        )
        findings = (await found(chosen, url=url, username="ada", password="x")).get("login", ())
        messages = [each.message for each in findings if "has" in each.message]
        assert [said is not None and said in message for message in messages] == [True] * (
            said is not None
        ), line


async def test_a_check_that_crashes_is_reported() -> None:
    from doorward.doctor.checkups import _make

    def broken() -> list[Finding]:
        raise ZeroDivisionError("oh")

    checkup = await _make("rules", broken)
    assert isinstance(checkup, Checkup) and not checkup.is_sound
    assert "ZeroDivisionError: oh" in checkup.findings[0].message
