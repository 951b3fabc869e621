"""The `alekeagle` dialect: python3 alekeagle.py ADDRESS NAME, with PASSWORD (and CODE)."""

import os
import sys

import httpx

address, name = sys.argv[1:]

with httpx.Client(base_url=address + "/api/user") as client:
    login = client.post("/session", json={"user": name, "pass": os.environ["PASSWORD"]})
    if login.status_code == 401 and "token" in (asked := login.json()):
        second = {"token": asked["token"], "type": "totp", "code": os.environ["CODE"]}
        login = client.post("/session", json={"2fa": second})
    client.headers["Authorization"] = login.raise_for_status().json()["token"]

    own = client.get("/session").raise_for_status().json()
    print(f"logged in as {name}, from {own['name']}")
    listed = client.get("/sessions").raise_for_status().json()
    print(f"{listed['count']} sessions")

    client.delete(f"/session/{own['iat']}").raise_for_status()
    print("logged out")
