"""Return addresses on other hosts: only hosts for which the login is valid, and no URL that any
browser could read as another host."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit

import pytest
from doorward.gate.rules import host_matches
from doorward.web.return_address import ReturnAddresses, find_site
from hypothesis import given
from hypothesis import strategies as st

from tests.support.house import PASSWORD, House, house
from tests.web.test_safe_returns import ATTACKS

HOSTS = ("app.example.com", "*.apps.example.com")
RETURNS = ReturnAddresses(HOSTS)
SITE = "https://app.example.com"


@pytest.mark.parametrize(
    "target",
    [
        SITE,
        f"{SITE}/",
        f"{SITE}/a?b=c&d=%20#e",
        f"{SITE}:8443/a",
        "https://wiki.apps.example.com/a",
        "https://a.b.apps.example.com/",
        "/a?b",
        "/",
    ],
)
def test_a_page_of_a_host_that_the_login_holds_for_is_returned_to(target: str) -> None:
    assert RETURNS.check(target) == target


@pytest.mark.parametrize("attack", ATTACKS, ids=ascii)
def test_an_attack_leads_to_the_start_page_though_hosts_are_known(attack: str) -> None:
    """The same corpus, by itself and after the origin of a known host."""
    assert RETURNS.check(attack) == "/"
    if attack.startswith("/"):
        assert RETURNS.check(SITE + attack) == "/"


@pytest.mark.parametrize(
    "attack",
    [
        "https://evil.test/",
        "https://badapp.example.com/",  # CVE-2021-21291
        "https://example.com/",
        "https://apps.example.com/",
        "https://badapps.example.com/",
        "https://app.example.com.evil.test/",  # CVE-2026-41569
        "https://appXexample.com/",  # CVE-2024-52289
        "https://evil.test/app.example.com",
        "https://evil.test#.apps.example.com/",
        "https://evil.test?.apps.example.com/",
        "https://evil.test\\.apps.example.com/",
        "https://evil.test/.apps.example.com/",
        "https://evil.test%2f.apps.example.com/",
        "https://evil.test:80.apps.example.com/",
        "https://app.example.com@evil.test/",
        "https://app.example.com:x@evil.test/",
        "https://user@app.example.com/",
        "https://app.example.com./",
        "https://APP.example.com/",
        "https://app.example.com:/",
        "https://app.example.com:0/",
        "https://app.example.com:123456/",
        "https://app.example.com?x",
        "https://app.example.com#x",
        "https:/app.example.com/",
        "https:app.example.com/",
        "https:///app.example.com/",
        "https:\\\\app.example.com/",
        "https://app.example.com\\/",
        "ht\ttps://app.example.com/",
        "https://app.exa\nmple.com/",
        "https://app.example.com/\t",
        "https://app.example.com/\\evil.test",
        " https://app.example.com/",
        "https://app.example.com/ ",
        "http://app.example.com/",
        "HTTPS://app.example.com/",
        "javascript://app.example.com/%0aalert(1)",
        "data://app.example.com/",
        "//app.example.com/",
        "https://.apps.example.com/",
        "https://a..apps.example.com/",
        "https://[::1].apps.example.com/",
        f"{SITE}/.doorward/login?rd=/x",
        f"{SITE}/.doorward/logout",
        f"{SITE}//evil.test",
        f"{SITE}/%2f/evil.test",
    ],
    ids=ascii,
)
def test_an_address_that_could_be_read_as_another_host_is_not_returned_to(attack: str) -> None:
    assert RETURNS.check(attack) == "/"


def test_without_https_a_portal_leads_to_either() -> None:
    assert ReturnAddresses(HOSTS, allows_http=True).check("http://app.example.com/a") != "/"
    assert ReturnAddresses((), allows_http=True).check("http://app.example.com/a") == "/"


@given(
    st.text(alphabet="htps:/\\@.?#%&exampl-appscomevil\t\n 012[]", max_size=60)
    | st.builds(
        "https://{}{}".format,
        st.text(alphabet="apexmlcos.-@:%\\/?#evi[]1", max_size=40),
        st.sampled_from(("", "/", "/a", ".apps.example.com/", "@app.example.com/")),
    )
)
def test_every_accepted_return_address_is_on_a_known_host(target: str) -> None:
    found = RETURNS.check(target)
    for read in (found, found.replace("\\", "/")):
        led = urlsplit(urljoin("https://auth.example.com/.doorward/login", read))
        host = led.hostname or ""
        assert led.scheme == "https" and "@" not in led.netloc
        assert host == "auth.example.com" or any(host_matches(one, host) for one in HOSTS)


def test_the_origin_of_an_address_is_found() -> None:
    assert find_site(f"{SITE}:8443/a/b") == f"{SITE}:8443"
    assert find_site("/a") == find_site("") == find_site("None") == ""


# The pages


@pytest.fixture
async def portal(tmp_path: Path) -> AsyncIterator[House]:
    settings = {
        "trusted_proxies": ["10.0.0.1"],
        "forward_auth": {"hosts": [*HOSTS, "outside.test"]},
        "sessions": {"cookie": {"domain": "example.com"}},
        "public_url": "https://auth.example.com",
    }
    async with house(tmp_path, **settings) as built:
        await built.add("alice")
        yield built


def query(target: str) -> str:
    return f"?rd={quote(target, safe='')}"


async def test_a_login_leads_back_to_the_host_that_asked(portal: House) -> None:
    target = f"{SITE}/a?b=c"
    async with portal.browser() as browser:
        page = await browser.get("/.doorward/login" + query(target))
        policy = page.headers["content-security-policy"]
        assert f"form-action 'self' {SITE};" in policy
        form = {"username": "alice", "password": PASSWORD}
        done = await browser.post("/.doorward/login" + query(target), data=form)
        assert (done.status_code, done.headers["location"]) == (303, target)
        name = "__Secure-doorward="
        (line,) = [one for one in done.headers.get_list("set-cookie") if one.startswith(name)]
        assert "; Domain=example.com;" in line and "Secure" in line
        cookie = {"cookie": line.partition(";")[0]}
        again = await browser.get("/.doorward/login" + query(target), headers=cookie)
        assert again.headers["location"] == target


@pytest.mark.parametrize("target", ["https://outside.test/", "https://evil.test/"])
async def test_a_login_leads_to_no_host_that_it_does_not_hold_for(
    portal: House, target: str
) -> None:
    """Otherwise there would be an endless loop of redirects."""
    async with portal.browser() as browser:
        form = {"username": "alice", "password": PASSWORD}
        done = await browser.post("/.doorward/login" + query(target), data=form)
        assert done.headers["location"] == "/"
        page = await browser.get("/.doorward/login?another=1&" + query(target)[1:])
        assert "form-action 'self';" in page.headers["content-security-policy"]


async def test_a_logout_redirects_only_to_known_hosts(portal: House) -> None:
    """CVE-2021-29456."""
    async with portal.browser() as browser:
        for target, leads in ((f"{SITE}/bye", f"{SITE}/bye"), ("https://evil.test/", None)):
            out = await browser.post("/.doorward/logout" + query(target))
            assert out.headers["location"] == (leads or "/.doorward/login")
        ended = [one for one in out.headers.get_list("set-cookie") if "Max-Age=0" in one]
        assert any(
            one.startswith("__Secure-doorward=;") and "Domain=example.com" in one for one in ended
        )
