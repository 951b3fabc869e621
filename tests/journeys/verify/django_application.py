"""A Django application that returns its user's name, with the middleware of the example."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))
sys.path.insert(0, str(Path(__file__).parents[3] / "examples" / "verify"))

from django.http import HttpRequest, HttpResponse
from django.urls import re_path

from tests.journeys.django_site import configure, serve

port, about, folder = int(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3])
configure(
    folder,
    [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django_verify.AssertionMiddleware",
        "django.contrib.auth.middleware.RemoteUserMiddleware",
    ],
    AUTHENTICATION_BACKENDS=["django.contrib.auth.backends.RemoteUserBackend"],
    DOORWARD=about,
)


def show(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(request.user))


urlpatterns = [re_path("", show)]
serve(port)
