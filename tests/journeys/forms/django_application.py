"""A Django application with the login of the framework: its form has a token, which belongs to a
cookie, and a login gets a new session. `alice` has the password of the second argument."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from django.http import HttpRequest, HttpResponse
from django.urls import path

from tests.journeys.django_site import configure, serve

port, password, folder = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
TEMPLATE = (
    "<!DOCTYPE html><title>{{ title }}</title><form action=/search><input name=q></form>"
    '<form method="post" action="">{% csrf_token %}{{ form }}'
    '<input type="hidden" name="next" value="/home"><button>Log in</button></form>'
)
configure(
    folder,
    [
        "django.middleware.common.CommonMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    # It is behind a proxy that says by which scheme it was asked, and compares the Referer then.
    SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
    LOGIN_URL="/login/",
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [
                    (
                        "django.template.loaders.locmem.Loader",
                        {"registration/login.html": TEMPLATE},
                    )
                ]
            },
        }
    ],
)

from django.contrib.auth.decorators import login_required  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.contrib.auth.views import LoginView, LogoutView  # noqa: E402

User.objects.create_user("alice", password=password)


def show(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{request.user}:{request.session.session_key}")


urlpatterns = [
    path("login/", LoginView.as_view()),
    path("logout/", LogoutView.as_view()),
    path("home", login_required(show)),
]
serve(port)
