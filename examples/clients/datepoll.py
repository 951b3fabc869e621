"""The `datepoll` dialect: python3 datepoll.py ADDRESS NAME, with PASSWORD (and CODE)."""

import os
import sys

import httpx

address, name = sys.argv[1:]
SESSIONS = "/api/v1/user/myself/session"

with httpx.Client(base_url=address) as client:
    login = {"username": name, "password": os.environ["PASSWORD"], "code": os.getenv("CODE", "")}
    stay = {"stay_logged_in": True, "session_information": "an example"}
    signed_in = client.post("/api/auth/signin", json=login | stay).raise_for_status().json()
    secret = {"session_token": signed_in["session_token"]}
    print(f"logged in as {name}")

    # The token lives for an hour; the secret gets another whenever one is needed.
    token = client.post("/api/auth/IamLoggedIn", json=secret).raise_for_status().json()["token"]
    client.params = httpx.QueryParams({"token": token})
    for session in client.get(SESSIONS).raise_for_status().json()["sessions"]:
        print(f"session {session['id']}: {session['information']}")

    client.post(f"{SESSIONS}/logoutCurrentSession", json=secret).raise_for_status()
    print("logged out")
