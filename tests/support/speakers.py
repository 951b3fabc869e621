"""One adapter for each dialect, with the operations that all dialects have, for
`test_behaviour.py`.

An adapter knows requests and statuses; the suite states the expected behaviour.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import httpx

from tests.support.house import PASSWORD, House, set_cookies

Headers = dict[str, str]


class Speaker(ABC):
    """One dialect. `told` maps events to the status in its document."""

    name: ClassVar[str]
    settings: ClassVar[dict[str, Any]] = {}
    told: ClassVar[dict[str, int]]
    life_s: ClassVar[float]

    def __init__(self, home: House, client: httpx.AsyncClient) -> None:
        self.home = home
        self.client = client

    @abstractmethod
    async def login(self, name: str = "alice", password: str = PASSWORD) -> httpx.Response: ...

    @abstractmethod
    async def code(self, login: httpx.Response, code: str) -> httpx.Response:
        """The second step of a login, if the answer requires it."""

    @abstractmethod
    def carrier(self, login: httpx.Response) -> Headers:
        """The carrier of the session that this login opened."""

    @abstractmethod
    async def use(self, carrier: Headers) -> httpx.Response:
        """Send a request that requires a session."""

    @abstractmethod
    async def close(self, carrier: Headers) -> httpx.Response: ...

    def demands_code(self, login: httpx.Response) -> bool:
        return login.status_code == self.told["code due"]

    def is_told(self, response: httpx.Response, what: str) -> bool:
        """Assert the status, and that the answer is JSON."""
        assert response.status_code == self.told[what], (self.name, what, response.text)
        if response.status_code >= 400:
            assert response.headers["content-type"].startswith("application/json")
            assert response.headers["cache-control"] == "no-store"
        return True


class Xhr(Speaker):
    name = "xhr"
    life_s = 7200.0
    told: ClassVar = {
        "opened": 200,
        "used": 200,
        "closed": 204,
        "nobody": 401,
        "wrong password": 401,
        "unknown name": 401,
        "login of a banned user": 401,
        "session of a banned user": 401,
        "locked": 429,
        "code due": 200,
        "code right": 204,
        "code wrong": 401,
        "storage gone": 503,
        "malformed": 400,
        "another site": 403,
    }

    async def login(self, name: str = "alice", password: str = PASSWORD) -> httpx.Response:
        return await self.client.post("/xhr/login", json={"username": name, "password": password})

    def demands_code(self, login: httpx.Response) -> bool:
        return bool(login.json()["session"]["totp"])

    async def code(self, login: httpx.Response, code: str) -> httpx.Response:
        headers = self.carrier(login)
        return await self.client.post("/xhr/totp", json={"token": code}, headers=headers)

    def carrier(self, login: httpx.Response) -> Headers:
        return {"cookie": set_cookies(login)[-1].partition(";")[0]}

    async def use(self, carrier: Headers) -> httpx.Response:
        return await self.client.get("/xhr/session", headers=carrier)

    async def close(self, carrier: Headers) -> httpx.Response:
        return await self.client.post("/xhr/logout", headers=carrier)


class Alekeagle(Speaker):
    name = "alekeagle"
    settings: ClassVar = {"rate_limit": "off"}
    life_s = 2_592_000.0
    told: ClassVar = {
        "opened": 201,
        "used": 200,
        "closed": 200,
        "nobody": 401,
        "wrong password": 401,
        "unknown name": 404,
        "login of a banned user": 403,
        "session of a banned user": 403,
        "locked": 429,
        "code due": 401,
        "code right": 201,
        "code wrong": 401,
        "storage gone": 500,
        "malformed": 400,
        "another site": 403,
    }

    async def login(self, name: str = "alice", password: str = PASSWORD) -> httpx.Response:
        return await self.client.post("/api/user/session", json={"user": name, "pass": password})

    async def code(self, login: httpx.Response, code: str) -> httpx.Response:
        second = {"token": login.json()["token"], "type": "totp", "code": code}
        return await self.client.post("/api/user/session", json={"2fa": second})

    def carrier(self, login: httpx.Response) -> Headers:
        return {"authorization": login.json()["token"]}

    async def use(self, carrier: Headers) -> httpx.Response:
        return await self.client.get("/api/user/session", headers=carrier)

    async def close(self, carrier: Headers) -> httpx.Response:
        own = (await self.use(carrier)).json().get("iat", 0)
        return await self.client.delete(f"/api/user/session/{own}", headers=carrier)


class Datepoll(Speaker):
    name = "datepoll"
    life_s = 34_560_000.0
    told: ClassVar = {
        "opened": 200,
        "used": 200,
        "closed": 200,
        "nobody": 401,
        "wrong password": 400,
        "unknown name": 400,
        "login of a banned user": 400,
        "session of a banned user": 401,
        "locked": 400,
        "code due": 400,
        "code right": 200,
        "code wrong": 400,
        "storage gone": 503,
        "malformed": 422,
        "another site": 403,
    }
    sessions = "/api/v1/user/myself/session"
    unsaved: ClassVar = {"msg": "An error occurred during session token saving.."}

    async def login(self, name: str = "alice", password: str = PASSWORD) -> httpx.Response:
        return await self._sign_in(username=name, password=password)

    async def _sign_in(self, **fields: str) -> httpx.Response:
        staying = {"stay_logged_in": True, "session_information": "a test"}
        return await self.client.post("/api/auth/signin", json=fields | staying)

    def demands_code(self, login: httpx.Response) -> bool:
        return bool(login.json()["error_code"] == "totp_required")

    async def code(self, login: httpx.Response, code: str) -> httpx.Response:
        return await self._sign_in(username="alice", password=PASSWORD, code=code)

    def carrier(self, login: httpx.Response) -> Headers:
        """The cookie, because the dialect's own token is only valid for an hour."""
        return {"cookie": set_cookies(login)[-1].partition(";")[0]}

    async def use(self, carrier: Headers) -> httpx.Response:
        return await self.client.get(self.sessions, headers=carrier)

    async def close(self, carrier: Headers) -> httpx.Response:
        own = (await self.use(carrier)).json()["sessions"][-1]["id"]
        return await self.client.delete(f"{self.sessions}/{own}", headers=carrier)

    def is_told(self, response: httpx.Response, what: str) -> bool:
        if what == "storage gone" and response.status_code == 500:
            return bool(response.json() == self.unsaved)
        return super().is_told(response, what)


class Rocketchat(Speaker):
    """The code is sent with the login, so the second step is another login."""

    name = "rocketchat"
    settings: ClassVar = {"rate_limit": "off"}
    life_s = 7_776_000.0
    told: ClassVar = {
        "opened": 200,
        "used": 200,
        "closed": 200,
        "nobody": 401,
        "wrong password": 401,
        "unknown name": 401,
        "login of a banned user": 401,
        "session of a banned user": 401,
        "locked": 401,
        "code due": 401,
        "code right": 200,
        "code wrong": 401,
        "storage gone": 503,
        "malformed": 400,
        "another site": 403,
    }

    async def login(self, name: str = "alice", password: str = PASSWORD) -> httpx.Response:
        body = {"user": name, "password": password}
        return await self.client.post("/api/v1/login", json=body)

    def demands_code(self, login: httpx.Response) -> bool:
        return bool(login.json()["error"] == "totp-required")

    async def code(self, login: httpx.Response, code: str) -> httpx.Response:
        body = {"user": "alice", "password": PASSWORD, "code": code}
        return await self.client.post("/api/v1/login", json=body)

    def carrier(self, login: httpx.Response) -> Headers:
        data = login.json()["data"]
        return {"x-user-id": data["userId"], "x-auth-token": data["authToken"]}

    async def use(self, carrier: Headers) -> httpx.Response:
        return await self.client.get("/api/v1/me", headers=carrier)

    async def close(self, carrier: Headers) -> httpx.Response:
        return await self.client.post("/api/v1/logout", headers=carrier)


SPEAKERS: tuple[type[Speaker], ...] = (Xhr, Alekeagle, Datepoll, Rocketchat)
