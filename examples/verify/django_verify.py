"""Believe Doorward's signature and no header: for Django. Needs doorward_verify.py.

DOORWARD = {"keys_url": "https://wiki.example.com/.doorward/jwks.json",
            "issuer": "https://wiki.example.com", "audience": "wiki"}
MIDDLEWARE = [..., "django.contrib.auth.middleware.AuthenticationMiddleware",
              "django_verify.AssertionMiddleware",
              "django.contrib.auth.middleware.RemoteUserMiddleware"]
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.RemoteUserBackend"]
"""

from django.conf import settings
from django.http import HttpResponse
from doorward_verify import Verifier


class AssertionMiddleware:
    """`request.user` becomes the user who was signed for, with Django's own
    `RemoteUserMiddleware` after this one. `request.doorward` has the claims."""

    def __init__(self, get_response):
        self.get_response = get_response
        self.verifier = Verifier(**settings.DOORWARD)

    def __call__(self, request):
        claims = self.verifier.verify(request.META.get("HTTP_X_DOORWARD_ASSERTION", ""))
        if claims is None:
            return HttpResponse("This application answers through Doorward alone.\n", status=401)
        request.META["REMOTE_USER"] = claims["preferred_username"]
        request.doorward = claims
        return self.get_response(request)
