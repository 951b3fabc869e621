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
    header_bytes: HeaderBytes = key("64KiB", "Largest request head.")
    header_count: Annotated[int, whole(16, 65536)] = key(256, "Most lines of a request head.")
    target_bytes: TargetBytes = key("16KiB", "Longest path and query.")
    header_timeout: Duration = key("10s", "How long a client may take to send the head.")
    body_bytes: Annotated[BodyBytes | None, Unless("none")] = key(
        "none", "Largest request body, or none."
    )
    body_timeout: Duration = key("30s", "How long a client may pause while it sends a body.")
    write_timeout: Duration = key("60s", "How long a client may stop reading its answer.")
    idle_timeout: Duration = key("75s", "How long a connection without a request stays open.")
    connections: Count = key(10000, "Most connections at a time, in each process, or none.")
    connections_per_address: Count = key(
        2000, "The same for one client address, or none; trusted_proxies are not counted."
    )
    requests_per_connection: Count = key(
        100000, "Most requests over one connection before it is closed, or none."
    )
    tunnels: Annotated[int, whole(1)] = key(
        1000, "Most WebSockets and other tunnels at a time, in each process."
    )
    tunnel_idle_timeout: Duration = key("1h", "How long a tunnel without traffic stays open.")
    message_bytes: MessageBytes = key(
        "16MiB", "Largest WebSocket message, under an ASGI server other than Doorward's own."
    )
