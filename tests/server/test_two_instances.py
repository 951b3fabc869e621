"""Two instances on one host: a browser sends its cookies to both, and neither affects the other's
sessions."""

from __future__ import annotations

import httpx
import pytest

from tests.conftest import Start
from tests.support.live import PASSWORD, Live, config_user
from tests.support.origin import OK, Origin, answering
from tests.support.waiting import PATIENCE_S
from tests.support.wire import Wire, read_body, values_of


def log_in(browser: httpx.Client, live: Live) -> None:
    form = {"username": "alice", "password": PASSWORD}
    headers = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "navigate"}
    answer = browser.post(f"http://{live.host}/.doorward/login", data=form, headers=headers)
    assert answer.status_code == 303, answer.text


def is_in(browser: httpx.Client, live: Live) -> bool:
    return browser.get(f"http://{live.host}/x").status_code == 200


@pytest.mark.parametrize("named", [False, True], ids=["by-port", "by-setting"])
def test_a_login_at_one_instance_ends_no_session_at_the_other(deploy: Start, named: bool) -> None:
    seen: list[bytes] = []

    def script(wire: Wire) -> None:
        while head := wire.head():
            read_body(wire, head)
            seen.extend(values_of(head, b"cookie"))
            wire.send(OK)

    with Origin((script,)) as origin, httpx.Client(trust_env=False, timeout=PATIENCE_S) as browser:
        one, two = (
            deploy(
                origin.url,
                users=[config_user()],
                **({"sessions": {"cookie": {"name": name}}} if named else {}),
            )
            for name in ("wiki", "git")
        )
        log_in(browser, one)
        log_in(browser, two)
        assert is_in(browser, one) and is_in(browser, two)
        log_in(browser, one)
        assert is_in(browser, one) and is_in(browser, two)
        browser.get(f"http://{two.host}/.doorward/logout")
        browser.post(
            f"http://{two.host}/.doorward/logout", headers={"sec-fetch-site": "same-origin"}
        )
        assert is_in(browser, one) and not is_in(browser, two)
        log_in(browser, two)
        log_in(browser, one)
        assert is_in(browser, one) and is_in(browser, two)
        if not named:
            names = {cookie.name for cookie in browser.cookies.jar}
            assert names == {
                "doorward",
                f"doorward-{two.port}",
                *(f"doorward-{each.port}-known" for each in (one, two)),
            }
            assert not seen, "no instance passes on what is the other's"


def test_a_session_with_the_former_cookie_name_stays_valid(deploy: Start) -> None:
    with Origin((answering(OK),)) as origin:
        live = deploy(origin.url, users=[config_user()])
        cookie = live.login()
        assert cookie.startswith("Cookie: doorward=")
        assert live.get("/x", cookie).status == 200
        own = cookie.replace("doorward=", f"doorward-{live.port}=")
        assert live.get("/x", own).status == 200
        assert live.get("/x", f"{own}; doorward=another").status == 200
        assert live.get("/x", f"{own}; {own.partition(' ')[2]}").status == 401
