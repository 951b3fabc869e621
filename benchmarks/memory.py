"""The memory of one worker over very many requests by ten thousand sessions.

It starts its own, fresh Doorward.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cases import CASES
from contestants import OURS
from load import wrk
from processes import usage
from sessions import many_sessions

SESSIONS = 10_000
READINGS = 10
TURN_S = 1


def memory(
    folder: Path, upstream: int, requests: int, connections: int
) -> Iterator[tuple[int, float]]:
    """At the start and after each tenth: the number of requests so far, and the RSS in MiB.

    Raises BadRound if the answer to a request was not the page.
    """
    folder.mkdir()
    with OURS["doorward"](folder, upstream) as started:
        cookies = many_sessions(folder / "doorward.yaml", SESSIONS, SESSIONS)
        contestant = replace(started, sessions=[("Cookie", cookie) for cookie in cookies])
        yield 0, usage(contestant.pids).rss_bytes / 2**20
        done = 0
        for reading in range(1, READINGS + 1):
            if done >= requests * reading / READINGS:
                continue
            while done < requests * reading / READINGS:
                figures = wrk(contestant, CASES["different"], TURN_S, connections, folder, done)
                done += int(figures["requests"])
            yield done, usage(contestant.pids).rss_bytes / 2**20
