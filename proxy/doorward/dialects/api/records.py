"""The audit log in the administration API: page by page, or as server-sent events.

Knows the endpoints' order of checks and the form of a stream; the core decides who may read what.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from doorward.accounts.administration import Administration
from doorward.accounts.audit.audit_log import AuditLog, Record, RecordFilter
from doorward.accounts.refusals import Refusal, StorageUnavailable
from doorward.dialects.api.guard import ApiGuard
from doorward.dialects.api.parameters import (
    MOST,
    read_cursor,
    read_filter,
    read_limit,
    write_cursor,
)
from doorward.dialects.api.rendering import NO_STORE, describe_record, render
from doorward.dialects.api.shapes import ApiRecords
from doorward.dialects.context import RequestFault

FOLLOW_S = 1.0  # between two reads of the records
QUIET_LOOKS = 15  # reads without a record, after which a comment keeps proxies from closing

Sleep = Callable[[float], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class ApiRecordEndpoints:
    guard: ApiGuard
    administration: Administration
    audit_log: AuditLog
    sleep: Sleep = asyncio.sleep

    async def list_records(self, request: Request) -> Response:
        actor, limit = await self.guard.find_actor(request), read_limit(request)
        wanted, before = read_filter(request), read_cursor(request)
        found = await self.administration.records(actor, wanted, before, limit + 1)
        return render(
            ApiRecords(
                records=[describe_record(one) for one in found[:limit]],
                next=write_cursor(found, limit, lambda record: record.number),
            )
        )

    async def follow_records(self, request: Request) -> Response:
        """Server-sent events (HTML, "server-sent events"). Ids are numbers of records, so that a
        client that reconnects continues where it was."""
        actor, wanted = await self.guard.find_actor(request), read_filter(request)
        last = request.headers.get("last-event-id", "")
        if last.isascii() and last.isdigit() and len(last) < 19:
            number = int(last)
        else:
            newest = await self.administration.records(actor, RecordFilter(), None, 1)
            number = newest[0].number if newest else 0
        headers = NO_STORE | {"x-accel-buffering": "no"}
        events = self._events(request, wanted, number)
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)

    async def peek_records(self, request: Request) -> Response:
        """HEAD: the headers of GET, without the stream."""
        await self.guard.find_actor(request)
        read_filter(request)
        return Response(media_type="text/event-stream", headers=NO_STORE)

    async def _events(
        self, request: Request, wanted: RecordFilter, number: int
    ) -> AsyncIterator[str]:
        """Until the client leaves, or is no longer allowed to see them."""
        yield ": records as they come\n\n"
        quiet = 0
        while True:
            try:
                await self.guard.find_actor(request)
                found = await self.audit_log.after(number, wanted, MOST)
            except StorageUnavailable:
                found = ()  # later ones have to wait, too
            except (Refusal, RequestFault):
                return
            for record in found:
                number = record.number
                yield _draw_event(record)
            quiet = 0 if found else quiet + 1
            if quiet >= QUIET_LOOKS:
                quiet = 0
                yield ":\n\n"
            await self.sleep(FOLLOW_S)


def _draw_event(record: Record) -> str:
    data = describe_record(record).model_dump_json()
    return f"id: {record.number}\nevent: record\ndata: {data}\n\n"
