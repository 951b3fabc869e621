"""Believe Doorward's signature and no header: middleware for WSGI and for ASGI applications.

Needs PyJWT with cryptography. A request that came around Doorward gets 401 and never reaches the
application; what it sent under the user's name is gone.
"""

import asyncio

import jwt

HEADER = "X-Doorward-Assertion"


class Verifier:
    """Verifies assertions for one application.

    `keys_url` is Doorward's `/.doorward/jwks.json`, `issuer` its `public_url`, `audience` the
    `assertion.audience` of this application's route.
    """

    def __init__(self, keys_url, issuer, audience):
        self.keys = jwt.PyJWKClient(keys_url, lifespan=300)
        self.issuer, self.audience = issuer, audience

    def verify(self, token):
        """The claims, or None for a token that is missing, forged, expired or another's."""
        try:
            key = self.keys.get_signing_key_from_jwt(token)
            return jwt.decode(
                token,
                key,
                algorithms=["ES256", "EdDSA"],
                audience=self.audience,
                issuer=self.issuer,
                options={"require": ["exp", "iat", "sub"]},
            )
        except jwt.PyJWTError:
            return None


class WsgiVerify:
    """`REMOTE_USER` becomes the user who was signed for; `doorward.claims` has the rest."""

    def __init__(self, app, verifier):
        self.app, self.verifier = app, verifier

    def __call__(self, environ, start_response):
        claims = self.verifier.verify(environ.get("HTTP_X_DOORWARD_ASSERTION", ""))
        if claims is None:
            start_response("401 Unauthorized", [("Content-Type", "text/plain")])
            return [b"This application answers through Doorward alone.\n"]
        environ.pop("HTTP_REMOTE_USER", None)
        environ["REMOTE_USER"] = claims["preferred_username"]
        environ["doorward.claims"] = claims
        return self.app(environ, start_response)


class AsgiVerify:
    """`scope["state"]["doorward"]` has the claims. Fetching keys must not hold up the loop."""

    def __init__(self, app, verifier):
        self.app, self.verifier = app, verifier

    async def __call__(self, scope, receive, send):
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        tokens = [value for name, value in scope["headers"] if name == HEADER.lower().encode()]
        token = tokens[0].decode("ascii", "replace") if len(tokens) == 1 else ""
        claims = await asyncio.to_thread(self.verifier.verify, token)
        if claims is not None:
            state = {**scope.get("state", {}), "doorward": claims}
            return await self.app({**scope, "state": state}, receive, send)
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008})
        await send({"type": "http.response.start", "status": 401, "headers": []})
        return await send({"type": "http.response.body", "body": b"Through Doorward alone.\n"})
