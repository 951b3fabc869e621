"""What the Django applications of the journeys have in common."""

from collections.abc import Sequence
from pathlib import Path
from wsgiref.simple_server import make_server

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application


def configure(folder: Path, middleware: Sequence[str], **more: object) -> None:
    """Prepare an application with users and sessions, kept in `folder`. Its pages are the
    `urlpatterns` of the started script."""
    settings.configure(
        SECRET_KEY="of no worth",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF="__main__",
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
        ],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": folder / "db"}},
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        MIDDLEWARE=middleware,
        **more,
    )
    django.setup()
    call_command("migrate", verbosity=0)


def serve(port: int) -> None:
    make_server("127.0.0.1", port, get_wsgi_application()).serve_forever()
