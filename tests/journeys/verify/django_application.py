"""A Django application that returns its user's name, with the middleware of the example."""

import json
import sys
from pathlib import Path
from wsgiref.simple_server import make_server

sys.path.insert(0, str(Path(__file__).parents[3] / "examples" / "verify"))

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import re_path

port, about, folder = int(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3])
settings.configure(
    SECRET_KEY="of no worth",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": folder / "db"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    DOORWARD=about,
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django_verify.AssertionMiddleware",
        "django.contrib.auth.middleware.RemoteUserMiddleware",
    ],
    AUTHENTICATION_BACKENDS=["django.contrib.auth.backends.RemoteUserBackend"],
)
django.setup()
call_command("migrate", verbosity=0)


def show(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(request.user))


urlpatterns = [re_path("", show)]
make_server("127.0.0.1", port, get_wsgi_application()).serve_forever()
