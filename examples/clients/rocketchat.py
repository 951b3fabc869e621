"""The `rocketchat` dialect: python3 rocketchat.py ADDRESS NAME, with PASSWORD (and CODE)."""

import os
import sys

import httpx

address, name = sys.argv[1:]

with httpx.Client(base_url=address + "/api/v1") as client:
    login = {"user": name, "password": os.environ["PASSWORD"], "code": os.getenv("CODE", "")}
    data = client.post("/login", json=login).raise_for_status().json()["data"]
    client.headers["X-User-Id"] = data["userId"]
    client.headers["X-Auth-Token"] = data["authToken"]
    print(f"logged in as {data['me']['username']}")

    for session in client.get("/sessions/list").raise_for_status().json()["sessions"]:
        here = " (this one)" if session["current"] else ""
        print(f"session {session['sessionId']} from {session['ip']}{here}")

    client.post("/logout").raise_for_status()
    print("logged out")
