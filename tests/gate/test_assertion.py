"""The signed assertion of the user's identity: its content, its lifetime, and how to verify it."""

from __future__ import annotations

import base64
import importlib.util
import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx
import jwt
import pytest
from doorward.accounts.factors import records
from doorward.accounts.keys import Keys
from doorward.accounts.sessions.assertions import EDDSA, ES256, LIFE_S, METHODS, AssertionKeys
from doorward.rewrite.signed_identity import RENEWED_AFTER_S
from doorward.settings import InvalidSettings, settings_from
from doorward.web.explanation import Question

from tests.gate.test_authorize import session
from tests.support.front import Build, Front
from tests.support.live import Live
from tests.support.origin import Origin
from tests.support.waiting import PATIENCE_S
from tests.support.wire import values_of

EXAMPLES = Path(__file__).parents[2] / "examples" / "verify"
KEYS = "/.doorward/jwks.json"
ISSUER = "http://app.test"


async def asserted(fronts: Build, origin: Origin, **assertion: Any) -> Front:
    route = {"upstream": origin.url, "assertion": {"audience": "wiki"} | assertion}
    access = {"rules": [{"path": "/public/*", "require": "public"}]}
    return await fronts(routes=[route], public_url=ISSUER, access=access)


async def published(front: Front) -> dict[str, jwt.PyJWK]:
    answer = await front.get(KEYS)
    assert answer.status == 200
    assert answer.values(b"content-type") == [b"application/jwk-set+json"]
    keys = json.loads(answer.body)["keys"]
    assert not any("d" in key for key in keys), "the private half"
    return {key["kid"]: jwt.PyJWK(key) for key in keys}


def sent(front: Front) -> str:
    (token,) = values_of(front.origin.heads[-1], b"x-doorward-assertion")
    return token.decode()


async def read(front: Front, token: str, **more: Any) -> dict[str, Any]:
    key = (await published(front))[jwt.get_unverified_header(token)["kid"]]
    checks = {"verify_exp": False, "verify_iat": False}
    found: dict[str, Any] = jwt.decode(
        token,
        key,
        algorithms=[key.algorithm_name],
        **({"audience": "wiki", "issuer": ISSUER, "options": checks} | more),
    )
    return found


@pytest.mark.parametrize("algorithm", [ES256, EDDSA])
async def test_a_verified_assertion_contains_the_user(
    fronts: Build, origin: Origin, algorithm: str
) -> None:
    from doorward.accounts.user import Email

    front = await asserted(fronts, origin, algorithm=algorithm)
    emails = [Email("a@app.test", True)]
    opened = await front.opened(groups=["staff"], roles=["r"], name="Älice", emails=emails)
    assert (await front.get("/", front.cookie(opened))).status == 200
    token, now = sent(front), int(front.clock())
    assert jwt.get_unverified_header(token)["alg"] == algorithm
    user = opened.session.user
    assert await read(front, token) == {
        "iss": ISSUER,
        "aud": "wiki",
        "sub": user.id,
        "preferred_username": "alice",
        "name": "Älice",
        "email": "a@app.test",
        "groups": ["staff"],
        "roles": ["r"],
        "amr": ["pwd"],
        "auth_time": int(opened.session.created_at),
        "sid": opened.session.id,
        "iat": now,
        "exp": now + LIFE_S,
    }
    with pytest.raises(jwt.InvalidAudienceError):
        await read(front, token, audience="other")


async def test_an_assertion_is_cached_until_half_its_lifetime(
    fronts: Build, origin: Origin
) -> None:
    front = await asserted(fronts, origin)
    cookie = front.cookie(await front.opened())
    tokens = []
    for step in (0, RENEWED_AFTER_S - 1, 1, -RENEWED_AFTER_S):
        front.clock.now += step
        assert (await front.get("/", cookie)).status == 200
        tokens.append(sent(front))
    assert tokens[0] == tokens[1] != tokens[2] != tokens[3]


async def test_a_forged_assertion_is_never_forwarded(fronts: Build, origin: Origin) -> None:
    front = await asserted(fronts, origin)
    forged = [(b"x-doorward-assertion", b"forged"), (b"x_doorward_assertion", b"forged")]
    assert (await front.get("/public/", *forged)).status == 200
    assert b"assertion" not in origin.heads[-1].lower()
    cookie = front.cookie(await front.opened())
    assert (await front.get("/public/", cookie, *forged)).status == 200
    assert sent(front).count(".") == 2


async def test_without_an_assertion_there_are_no_keys(front: Front) -> None:
    assert (await front.get(KEYS)).status == 404


async def test_explain_hides_the_assertion(fronts: Build, origin: Origin) -> None:
    front = await asserted(fronts, origin)
    user = (await front.opened()).session.user
    assert front.app.explainer is not None
    question = Question("GET", f"{ISSUER}/", user)
    found = await front.app.explainer.explain(question, front.clock())
    assert "X-Doorward-Assertion: (signed)\r\n" in found.head


async def test_an_assertion_that_is_too_large_is_refused(fronts: Build, origin: Origin) -> None:
    front = await asserted(fronts, origin)
    many = ["g" * 180 + str(number) for number in range(40)]
    answer = await front.get("/", front.cookie(await front.opened(groups=many)))
    assert answer.status == 500 and b"unfit_identity" in answer.body


# Keys


@pytest.mark.parametrize("algorithm", [ES256, EDDSA])
def test_assertion_keys_rotate_with_the_secrets(algorithm: str) -> None:
    """The endpoint publishes the signing key and the others, so that no assertion is refused during
    a rotation."""
    old, new = b"o" * 32, b"n" * 32
    before, during, after = (
        AssertionKeys(Keys(secrets), algorithm) for secrets in ((old,), (new, old), (new,))
    )
    token = before.sign(session(), ISSUER, "a", 1e9)
    kid = jwt.get_unverified_header(token)["kid"]
    assert [key["kid"] for key in before.public] == [kid]
    assert kid in [key["kid"] for key in during.public]
    assert kid not in [key["kid"] for key in after.public]
    assert during.public[0] == after.public[0]
    assert AssertionKeys(Keys((old,)), algorithm).public == before.public, "nothing is stored"


def test_a_key_is_named_by_its_thumbprint() -> None:
    (key,) = AssertionKeys(Keys((b"k" * 32,)), ES256).public
    members = {name: key[name] for name in ("crv", "kty", "x", "y")}
    import hashlib

    text = json.dumps(members, separators=(",", ":"), sort_keys=True).encode()
    found = base64.urlsafe_b64encode(hashlib.sha256(text).digest()).rstrip(b"=").decode()
    assert key["kid"] == found


@pytest.mark.parametrize(
    ("method", "factor", "amr"),
    [
        ("password", None, ["pwd"]),
        ("password", 1.0, ["pwd", "mfa"]),
        ("password+totp", 1.0, ["pwd", "otp", "mfa"]),
        ("password+email", 1.0, ["pwd", "otp", "mfa"]),
        ("password+recovery", 1.0, ["pwd", "recovery", "mfa"]),
        ("token", None, []),
    ],
)
def test_the_amr_claim_lists_the_methods_of_the_login(
    method: str, factor: float | None, amr: list[str]
) -> None:
    keys = AssertionKeys(Keys((b"k" * 32,)), ES256)
    token = keys.sign(replace(session(factor=factor), method=method), ISSUER, "a", 1e9)
    assert jwt.decode(token, options={"verify_signature": False})["amr"] == amr


def test_every_factor_has_an_amr_value() -> None:
    assert set(METHODS) >= {records.PASSWORD, records.TOTP, records.EMAIL, records.RECOVERY}


@pytest.mark.parametrize(
    ("assertion", "said"),
    [
        ({}, "audience: is required"),
        ({"audience": "a", "algorithm": "HS256"}, "not one of ES256, EdDSA"),
    ],
)
def test_missing_assertion_settings_are_reported(assertion: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidSettings, match=said):
        settings_from({"routes": [{"upstream": "http://a", "assertion": assertion}]})


# The examples


def load_example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verify", EXAMPLES / "doorward_verify.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Quiet(WSGIRequestHandler):
    def log_message(self, *about: object) -> None:
        pass


@contextmanager
def wsgi(app: Callable[..., Any]) -> Iterator[str]:
    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def greet(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    token = environ["HTTP_X_DOORWARD_ASSERTION"]
    return [f"{environ['REMOTE_USER']} {environ.get('HTTP_REMOTE_USER', '-')} {token}".encode()]


@pytest.mark.outside
def test_the_example_application_refuses_unsigned_requests(tmp_path: Path) -> None:
    example = load_example()
    wrapped = example.WsgiVerify(greet, None)
    with wsgi(wrapped) as upstream:
        route = {"upstream": upstream, "assertion": {"audience": "wiki"}}
        live = Live(tmp_path, upstream, routes=[route])
        issuer = f"http://{live.host}"
        wrapped.verifier = example.Verifier(issuer + KEYS, issuer, "wiki")
        with live:
            live.add_user("alice")
            cookie = live.login()
            answer = live.get("/", cookie, "Remote-User: root", "X_Doorward_Assertion: a.b.c")
            assert answer.status == 200
            user, header, token = answer.body.decode().split()
            assert (user, header) == ("alice", "-")

            lines = {"remote-user": "root", "cookie": cookie.partition(": ")[2]}
            around: list[dict[str, str]] = [{}, {"X-Doorward-Assertion": token[:-8] + "AAAAAAAA"}]
            none = _unsigned(token)
            around.append({"X-Doorward-Assertion": none})
            for more in around:
                said = httpx.get(
                    upstream, headers=lines | more, trust_env=False, timeout=PATIENCE_S
                )
                assert said.status_code == 401, more
            assert example.Verifier(issuer + KEYS, issuer, "other").verify(token) is None
            assert example.Verifier(issuer + KEYS, "http://b", "wiki").verify(token) is None
            _run_node(issuer, {"good": token, "cut": token[:-8] + "AAAAAAAA", "none": none, "": ""})


def _unsigned(token: str) -> str:
    header = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    return f"{header}.{token.split('.')[1]}."


def _run_node(issuer: str, tokens: dict[str, str]) -> None:
    node = shutil.which("node")
    assert node is not None, "there is no node; apt-get install nodejs"
    script = f"""
        import {{ verifier }} from {json.dumps((EXAMPLES / "verify.mjs").as_uri())};
        const verify = verifier({json.dumps(issuer + KEYS)}, {json.dumps(issuer)}, "wiki");
        for (const token of {json.dumps(list(tokens.values()))}) {{
          console.log((await verify(token))?.preferred_username ?? "refused");
        }}
        const other = verifier({json.dumps(issuer + KEYS)}, {json.dumps(issuer)}, "other");
        console.log((await other({json.dumps(tokens["good"])})) ?? "refused");
    """
    command = [node, "--input-type=module", "-e", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["alice", *["refused"] * len(tokens)]


async def test_an_asgi_application_gets_the_claims_or_nothing(
    fronts: Build, origin: Origin
) -> None:
    example, calls = load_example(), []

    class Known:
        def verify(self, token: str) -> dict[str, str] | None:
            return {"sub": "u"} if token == "good" else None

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        calls.append(scope["state"]["doorward"])

    async def send(message: Any) -> None:
        calls.append(message.get("status") or message.get("code"))

    app = example.AsgiVerify(inner, Known())
    name = b"x-doorward-assertion"
    for kind, lines in (
        ("http", [(name, b"good")]),
        ("http", []),
        ("http", [(name, b"good"), (name, b"good")]),
        ("websocket", [(name, b"bad")]),
    ):
        await app({"type": kind, "headers": lines}, None, send)
    assert [each for each in calls if each is not None] == [{"sub": "u"}, 401, 401, 1008]
