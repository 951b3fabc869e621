"""Log in through the `alekeagle` dialect, list the sessions, log out.

PASSWORD=… python alekeagle.py http://127.0.0.1:8080 alice
"""

import os
import sys
from datetime import UTC, datetime
from typing import Any

import httpx

CHALLENGE = "SECOND_FACTOR_CHALLENGE_REQUIRED_ERROR"


class Refused(Exception):
    """The API's word for what went wrong, and its sentence."""


class Alekeagle:
    def __init__(self, address: str) -> None:
        self.http = httpx.Client(base_url=f"{address}/api/user")

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.http.request(method, path, json=body)
        said = answer.json()  # on every answer, whatever its status
        if answer.status_code == 429:
            raise Refused(f"wait {answer.headers['Retry-After']} seconds")
        if answer.is_error and said["code"] != CHALLENGE:
            raise Refused(f"{said['code']}: {said['message']}")
        return said

    def login(self, user: str, password: str) -> None:
        said = self.ask("POST", "/session", {"user": user, "pass": password})
        if said.get("code") == CHALLENGE:
            code = input(f"Code ({', '.join(said['types'])}): ")
            given = {"token": said["token"], "type": said["types"][0], "code": code}
            said = self.ask("POST", "/session", {"2fa": given})
        self.http.headers["Authorization"] = said["token"]

    def logout(self) -> None:
        own = self.ask("GET", "/session")
        self.ask("DELETE", f"/session/{own['iat']}")


def main(address: str, user: str) -> None:
    client = Alekeagle(address)
    client.login(user, os.environ["PASSWORD"])
    own = client.ask("GET", "/session")["iat"]
    for session in client.ask("GET", "/sessions")["items"]:
        since = datetime.fromtimestamp(session["iat"], UTC)
        mark = "*" if session["iat"] == own else " "
        print(f"{mark} {since:%Y-%m-%d %H:%M} {session['name']}")
    client.logout()
    print("logged out")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:3])
    except Refused as refused:
        sys.exit(str(refused))
