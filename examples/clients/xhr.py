"""The `xhr` dialect: python3 xhr.py ADDRESS NAME, with PASSWORD (and CODE) in the environment."""

import os
import sys

import httpx

address, name = sys.argv[1:]

with httpx.Client(base_url=address) as client:  # keeps the cookie
    login = client.post("/xhr/login", json={"username": name, "password": os.environ["PASSWORD"]})
    login.raise_for_status()
    if login.json()["session"]["totp"]:
        client.post("/xhr/totp", json={"token": os.environ["CODE"]}).raise_for_status()

    told = client.get("/xhr/session").raise_for_status().json()
    minutes = told["session"]["maxAge"] // 60_000
    print(f"logged in as {told['user']['username']}, for {minutes} minutes")

    client.post("/xhr/logout").raise_for_status()
    print("logged out")
