"""A Django application behind Doorward: uvicorn django_app:app"""

import os

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path
from doorward.middleware import Doorward


async def who(request: HttpRequest) -> JsonResponse:
    identity = request.scope["state"]["doorward"]  # type: ignore[attr-defined]
    return JsonResponse({"username": identity.username, "groups": identity.groups})


settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],  # Doorward answers for the hosts of its routes alone
    SECRET_KEY=os.urandom(32).hex(),
)
urlpatterns = [path("", who)]

app = Doorward(get_asgi_application(), os.environ["DOORWARD_CONFIG"])
