"""The name of a session in the `alekeagle` dialect: browser and system, from its User-Agent.

Knows the names that the original API's User-Agent parser used in 2021. An unknown User-Agent is its
own name. Must not trust its input.
"""

import re
from functools import lru_cache

REMEMBERED = 1024  # User-Agents; most users have one of a few dozen

# The first match counts, because most browsers also contain the names of browsers that they
# imitate.
BROWSERS = tuple(
    (name, re.compile(form))
    for name, form in (
        ("Opera", r"\bOPR/([\d.]+)"),
        ("Edge", r"\bEdg(?:e|A|iOS)?/([\d.]+)"),
        ("Samsung Browser", r"\bSamsungBrowser/([\d.]+)"),
        ("Chrome", r"\bCriOS/([\d.]+)"),
        ("Firefox", r"\bFxiOS/([\d.]+)"),
        ("Chrome Headless", r"\bHeadlessChrome/([\d.]+)"),
        ("Chrome WebView", r"; wv\).+\bChrome/([\d.]+)"),
        ("Chrome", r"\bChrome/([\d.]+)"),
        ("Mobile Safari", r"\bVersion/([\d.]+) .*\bMobile/\w+ Safari/"),
        ("Safari", r"\bVersion/([\d.]+) .*\bSafari/"),
        ("Firefox", r"\bFirefox/([\d.]+)"),
        ("IE", r"\bMSIE ([\d.]+)|\bTrident/.+\brv:([\d.]+)"),
    )
)
WINDOWS = {"10.0": "10", "6.3": "8.1", "6.2": "8", "6.1": "7", "6.0": "Vista", "5.1": "XP"}
SYSTEMS = tuple(
    (name, re.compile(form))
    for name, form in (
        ("Windows", r"\bWindows NT ([\d.]+)"),
        ("Android", r"\bAndroid ?([\d.]*)"),
        ("iOS", r"\b(?:iPhone|iPad|iPod)\b.*?\bOS ([\d_]+)"),
        ("Mac OS", r"\bMac OS X ?([\d._]*)"),
        ("Chromium OS", r"\bCrOS \w+ ([\d.]+)"),
        ("Ubuntu", r"\bUbuntu[/ -]?([\d.]*)"),
        ("Debian", r"\bDebian[/ -]?([\d.]*)"),
        ("Fedora", r"\bFedora[/ -]?([\d.]*)"),
        ("Linux", r"\bLinux ?([\w.]*)"),
    )
)
PROCESSORS = tuple(
    (name, re.compile(form))
    for name, form in (
        ("amd64", r"\b(?:amd64|x86[_-]?64|x64|wow64|win64)\b"),
        ("arm64", r"\b(?:aarch64|arm64|armv8\w*)\b"),
        ("arm", r"\barm(?:v[67]\w*)?\b"),
        ("ia32", r"\b(?:ia32|i[346]86|x86)\b"),
    )
)


@lru_cache(REMEMBERED)
def session_name(user_agent: str) -> str:
    """Such as `Firefox v95.0 on Linux x86_64 amd64`; the User-Agent itself if it is unknown."""
    browser, version = _first(BROWSERS, user_agent)
    system, release = _first(SYSTEMS, user_agent)
    release = release.replace("_", ".") if system in ("iOS", "Mac OS") else release
    release = WINDOWS.get(release, release) if system == "Windows" else release
    lowered = user_agent.lower()
    processor = next((name for name, form in PROCESSORS if form.search(lowered)), "")
    if not (browser and version and system and (release or processor)):
        return user_agent
    return " ".join(filter(None, [f"{browser} v{version} on {system}", release, processor]))


def _first(table: tuple[tuple[str, re.Pattern[str]], ...], user_agent: str) -> tuple[str, str]:
    """The first name whose pattern matches, with the version; two empty strings if none matches."""
    for name, form in table:
        if found := form.search(user_agent):
            return name, next((group for group in found.groups() if group), "")
    return "", ""
