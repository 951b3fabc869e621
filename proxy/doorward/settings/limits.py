"""Knows the settings that limit what a client can send, how long it can wait and how much it can
occupy. It must not enforce them; the server and the gate do."""

from __future__ import annotations

from typing import Annotated

from doorward.settings.fields import Duration, Section, Unless, key, size_from, whole

# No browser's request head is smaller.
HeaderBytes = Annotated[int, size_from(1024)]
TargetBytes = Annotated[int, size_from(256)]
MessageBytes = Annotated[int, size_from(1024)]
BodyBytes = Annotated[int, size_from(1)]
Count = Annotated[Annotated[int, whole(1)] | None, Unless("none")]


class LimitSettings(Section):
    header_bytes: HeaderBytes = key(
        "64KiB", "Maximum size of a request's head: request line and headers."
    )
    header_count: Annotated[int, whole(16, 65536)] = key(
        256, "Maximum number of header lines in a request."
    )
    target_bytes: TargetBytes = key("16KiB", "Maximum length of path and query.")
    header_timeout: Duration = key("10s", "Time for a client to send a request's head.")
    body_bytes: Annotated[BodyBytes | None, Unless("none")] = key(
        "none", "Maximum size of a request body, or none."
    )
    body_timeout: Duration = key("30s", "Longest pause while a client sends a body.")
    write_timeout: Duration = key("60s", "Longest pause while a client reads its answer.")
    idle_timeout: Duration = key("75s", "How long an unused client connection is kept open.")
    connections: Count = key(10000, "Maximum number of client connections, per process, or none.")
    connections_per_address: Count = key(
        2000, "Maximum number of connections from one address except trusted_proxies, or none."
    )
    requests_per_connection: Count = key(
        100000, "Maximum number of requests over one connection, or none."
    )
    tunnels: Annotated[int, whole(1)] = key(
        1000, "Maximum number of WebSockets and other tunnels, per process."
    )
    tunnel_idle_timeout: Duration = key("1h", "How long a tunnel without traffic is kept open.")
    message_bytes: MessageBytes = key(
        "16MiB",
        "Maximum size of a WebSocket message under other ASGI servers than Doorward's own.",
    )
