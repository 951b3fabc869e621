"""Believe Doorward's signature and no header: for Flask. Needs Flask, and doorward_verify.py."""

from doorward_verify import HEADER, Verifier
from flask import abort, g, request


def protect(app, keys_url, issuer, audience):
    """Refuse requests that came around Doorward. Views find the claims of the others in
    `g.doorward`."""
    verifier = Verifier(keys_url, issuer, audience)

    @app.before_request
    def verify():
        g.doorward = verifier.verify(request.headers.get(HEADER, ""))
        if g.doorward is None:
            abort(401)
