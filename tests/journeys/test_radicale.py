"""Radicale, a third-party calendar server, behind Doorward.

The configuration files are those of examples/radicale/, except for ports, folders, and the delay
with which Radicale answers a refused client.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from tests.support.live import free_port
from tests.support.programs import running, wait_until_answered
from tests.support.waiting import PATIENCE_S, until

EXAMPLE = Path(__file__).parents[2] / "examples" / "radicale"
DOORWARD = Path(sys.executable).with_name("doorward")
PASSWORDS = {"alice": "correct horse battery staple", "bob": "a rather different password"}

EVENT = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//example//EN
BEGIN:VEVENT
UID:tea-with-bob
DTSTAMP:20260102T030405Z
DTSTART:20260105T150000Z
DTEND:20260105T160000Z
SUMMARY:Tea with Bob
END:VEVENT
END:VCALENDAR
""".replace("\n", "\r\n")

IN_JANUARY = """<?xml version="1.0"?>
<C:calendar-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav">
<D:prop><D:getetag/><C:calendar-data/></D:prop>
<C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT">
<C:time-range start="20260101T000000Z" end="20260201T000000Z"/>
</C:comp-filter></C:comp-filter></C:filter>
</C:calendar-query>"""


@dataclass(frozen=True)
class Calendars:
    """Radicale with Doorward in front of it."""

    public: str
    radicale: str
    config: Path

    def visitor(self) -> httpx.Client:
        return httpx.Client(base_url=self.public, trust_env=False, timeout=PATIENCE_S)

    @contextmanager
    def logged_in(self, name: str) -> Iterator[httpx.Client]:
        with self.visitor() as visitor:
            login = {"username": name, "password": PASSWORDS[name]}
            assert visitor.post("/xhr/login", json=login).status_code == 200
            yield visitor


def write_config(folder: Path, public_port: int, radicale_port: int) -> Path:
    settings = yaml.safe_load((EXAMPLE / "doorward.yaml").read_text())
    settings["listen"] = f"127.0.0.1:{public_port}"
    settings["admin_listen"] = "off"
    settings["routes"][0]["upstream"] = f"http://127.0.0.1:{radicale_port}"
    path = folder / "doorward.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def add_user(name: str, config: Path) -> None:
    command = [
        os.fspath(DOORWARD),
        "user",
        "add",
        name,
        "--password-stdin",
        "-c",
        os.fspath(config),
    ]
    subprocess.run(command, input=PASSWORDS[name] + "\n", text=True, check=True, timeout=60)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Calendars]:
    folder = tmp_path_factory.mktemp("radicale")
    radicale_port, public_port = free_port(), free_port()
    config = write_config(folder, public_port, radicale_port)
    for name in PASSWORDS:
        add_user(name, config)
    radicale = [sys.executable, "-m", "radicale", "--config", os.fspath(EXAMPLE / "radicale.conf")]
    radicale += ["--server-hosts", f"127.0.0.1:{radicale_port}", "--auth-delay", "0"]
    doorward = [os.fspath(DOORWARD), "serve", "-c", os.fspath(config)]
    house = Calendars(
        f"http://127.0.0.1:{public_port}", f"http://127.0.0.1:{radicale_port}", config
    )
    with ExitStack() as stack:
        for name, command, url in (
            ("radicale", radicale, house.radicale),
            ("doorward", doorward, house.public + "/.doorward/healthz"),
        ):
            log = folder / f"{name}.log"
            child = stack.enter_context(running(command, log, cwd=folder))
            wait_until_answered(url, child, log)
        yield house


def propfind(client: httpx.Client, path: str, *headers: tuple[str, str]) -> httpx.Response:
    return client.request("PROPFIND", path, headers=[("Depth", "1"), *headers])


def session_cookie(client: httpx.Client) -> dict[str, str]:
    """The cookie that a thief would replay after the browser has deleted it."""
    return {"Cookie": f"doorward={client.cookies['doorward']}"}


@pytest.fixture(scope="module")
def diaries(house: Calendars) -> Calendars:
    """A calendar for each of Alice and Bob, created through the proxy."""
    for name in PASSWORDS:
        with house.logged_in(name) as user:
            assert user.request("MKCALENDAR", f"/{name}/diary/").status_code == 201
    return house


def test_without_a_login_the_calendar_server_is_unreachable(house: Calendars) -> None:
    with house.visitor() as stranger:
        for method in ("GET", "PROPFIND", "OPTIONS", "MKCALENDAR", "PUT", "DELETE"):
            refused = stranger.request(method, "/alice/", headers={"X-Remote-User": "alice"})
            assert refused.status_code == 401, method
            assert "DAV" not in refused.headers
            assert refused.json()["login"].startswith("/.doorward/login")


def test_alice_keeps_a_calendar_through_the_proxy(house: Calendars) -> None:
    with house.logged_in("alice") as alice:
        assert alice.request("MKCALENDAR", "/alice/plans/").status_code == 201

        headers = {"Content-Type": "text/calendar; charset=utf-8", "If-None-Match": "*"}
        stored = alice.put("/alice/plans/tea.ics", content=EVENT, headers=headers)
        assert stored.status_code == 201
        again = alice.put("/alice/plans/tea.ics", content=EVENT, headers=headers)
        assert again.status_code == 412, "preconditions reach the calendar server"

        listed = propfind(alice, "/alice/plans/")
        assert listed.status_code == 207
        assert "/alice/plans/tea.ics" in listed.text

        report = alice.request(
            "REPORT", "/alice/plans/", content=IN_JANUARY, headers={"Depth": "1"}
        )
        assert report.status_code == 207
        assert "SUMMARY:Tea with Bob" in report.text
        assert stored.headers["etag"] in report.text.replace("&quot;", '"')

        # The calendar server compares the destination with the requested host.
        moved = alice.request(
            "MOVE",
            "/alice/plans/tea.ics",
            headers={"Destination": f"{house.public}/alice/plans/late%20tea.ics"},
        )
        assert moved.status_code == 201
        read = alice.get("/alice/plans/late%20tea.ics")
        assert read.status_code == 200
        assert "Tea with Bob" in read.text

        assert alice.delete("/alice/plans/").status_code == 200
        assert alice.get("/alice/plans/late%20tea.ics").status_code == 404


def test_alice_cannot_read_bobs_calendar(diaries: Calendars) -> None:
    with diaries.logged_in("bob") as bob, diaries.logged_in("alice") as alice:
        assert propfind(bob, "/bob/diary/").status_code == 207
        assert propfind(alice, "/bob/").status_code == 403
        assert propfind(alice, "/bob/diary/").status_code == 403
        assert alice.put("/bob/diary/tea.ics", content=EVENT).status_code == 403


FORGERIES = [
    [("X-Remote-User", "bob")],
    [("x-remote-user", "bob")],
    [("X-REMOTE-USER", "bob")],
    [("X_Remote_User", "bob")],  # WSGI uses the same variable for it
    [("X-Remote_User", "bob")],
    [("x_remote-user", "bob")],
    [("X-Remote-User", "bob"), ("X-Remote-User", "bob")],
    [("X-Remote-User", "alice"), ("X_Remote_User", "bob")],
    [("X-Remote-User", "bob"), ("Connection", "keep-alive, X-Remote-User")],
    [("X-Remote-User", "")],
    [("Authorization", "Basic Ym9iOmJvYg==")],  # bob:bob
    [("Remote-User", "bob")],
]


@pytest.fixture(scope="module")
def alice(diaries: Calendars) -> Iterator[httpx.Client]:
    with diaries.logged_in("alice") as alice:
        yield alice


@pytest.mark.parametrize("forgery", FORGERIES, ids=str)
def test_a_forged_header_cannot_change_the_user(
    alice: httpx.Client, forgery: list[tuple[str, str]]
) -> None:
    assert propfind(alice, "/bob/diary/", *forgery).status_code == 403
    assert propfind(alice, "/alice/diary/", *forgery).status_code == 207


@pytest.mark.parametrize("forgery", FORGERIES, ids=str)
def test_a_forged_header_cannot_log_in(diaries: Calendars, forgery: list[tuple[str, str]]) -> None:
    with diaries.visitor() as stranger:
        assert propfind(stranger, "/bob/diary/", *forgery).status_code == 401


def test_logging_out_over_the_api_ends_it(diaries: Calendars) -> None:
    with diaries.logged_in("alice") as alice:
        stolen = session_cookie(alice)
        assert propfind(alice, "/alice/diary/").status_code == 207
        assert alice.post("/xhr/logout").status_code == 204
        assert propfind(alice, "/alice/diary/").status_code == 401
    with diaries.visitor() as thief:
        assert propfind(thief, "/alice/diary/", *stolen.items()).status_code == 401


def test_a_browser_logs_in_by_the_form_and_out_again(diaries: Calendars) -> None:
    with diaries.visitor() as browser:
        browser.headers["Origin"] = diaries.public
        navigation = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}
        asked = browser.get("/alice/diary/", headers=navigation)
        assert asked.status_code == 303
        assert asked.headers["location"].startswith("/.doorward/login?rd=")

        form = {"username": "alice", "password": PASSWORDS["alice"], "remember": "on"}
        welcomed = browser.post(asked.headers["location"], data=form)
        assert welcomed.status_code == 303
        assert welcomed.headers["location"] == "/alice/diary/"
        assert propfind(browser, "/alice/diary/").status_code == 207

        stolen = session_cookie(browser)
        assert browser.post("/.doorward/logout").status_code in (200, 303)
        assert propfind(browser, "/alice/diary/").status_code == 401
    with diaries.visitor() as thief:
        assert propfind(thief, "/alice/diary/", *stolen.items()).status_code == 401


STAND_IN = """#!{python}
import os, pathlib, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
here = pathlib.Path({folder!r}, os.path.basename(sys.argv[0]))
here.with_suffix(".tmp").write_text(str(os.getpid()))
here.with_suffix(".tmp").rename(here.with_suffix(".pid"))
while True:
    signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_example_script_stops_both_programs(tmp_path: Path, number: signal.Signals) -> None:
    """Only the script gets the signal, as from a service manager; both programs are stand-ins."""
    for name in ("doorward", "python3"):
        program = tmp_path / name
        program.write_text(STAND_IN.format(python=sys.executable, folder=str(tmp_path)))
        program.chmod(0o755)
    environ = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    # A shell cannot trap a signal that is ignored when it starts, as SIGINT is if the tests were
    # started in the background.
    command = ["env", "--default-signal=INT", str(EXAMPLE / "run.sh")]
    with subprocess.Popen(command, env=environ, start_new_session=True) as script:
        files = [tmp_path / "doorward.pid", tmp_path / "python3.pid"]
        try:
            until(lambda: all(file.exists() for file in files), "for both programs to start")
            script.send_signal(number)
            script.wait(PATIENCE_S)
            until(lambda: not any(map(is_running, files)), "for both programs to end")
        finally:
            with contextlib.suppress(ProcessLookupError):  # they have ended as they should
                os.killpg(script.pid, signal.SIGKILL)


def is_running(file: Path) -> bool:
    try:
        os.kill(int(file.read_text()), 0)
    except ProcessLookupError:
        return False
    return True
