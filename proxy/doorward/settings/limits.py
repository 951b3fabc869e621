"""Knows the settings that bound what a client may send, hold and keep waiting.
It must not enforce them; the server and the gate do."""

from __future__ import annotations

from typing import Annotated

from doorward.settings.fields import Duration, Section, Unless, key, size_from, whole

# Below this no browser's request head would pass.
HeaderBytes = Annotated[int, size_from(1024)]
TargetBytes = Annotated[int, size_from(256)]
MessageBytes = Annotated[int, size_from(1024)]
BodyBytes = Annotated[int, size_from(1)]
Count = Annotated[Annotated[int, whole(1)] | None, Unless("none")]


class LimitSettings(Section):
    header_bytes: HeaderBytes = key("64KiB", "Most bytes of a request's head.")
    header_count: Annotated[int, whole(16, 65536)] = key(256, "Most lines of a request's head.")
    target_bytes: TargetBytes = key("16KiB", "Most bytes of a request's path and query.")
    header_timeout: Duration = key("10s", "How long a client may take to send that head.")
    body_bytes: Annotated[BodyBytes | None, Unless("none")] = key(
        "none", "Most bytes of a request's body, or none."
    )
    body_timeout: Duration = key("30s", "How long a client may be silent within a body.")
    write_timeout: Duration = key("60s", "How long a client may take nothing of its answer.")
    idle_timeout: Duration = key("75s", "How long a connection without a request is kept.")
    connections: Count = key(10000, "Most connections at once, in each process, or none.")
    connections_per_address: Count = key(
        2000, "The same for one address, or none; trusted_proxies are not counted."
    )
    requests_per_connection: Count = key(
        100000, "Most requests over one connection, which is closed then, or none."
    )
    tunnels: Annotated[int, whole(1)] = key(
        1000, "Most WebSockets and other tunnels at once, in each process."
    )
    tunnel_idle_timeout: Duration = key(
        "1h", "How long a tunnel is kept through which nothing goes."
    )
    message_bytes: MessageBytes = key(
        "16MiB", "Most bytes of a WebSocket message, under another ASGI server than Doorward's own."
    )
