"""Users, sessions, tokens, lock-outs and records as JSON of the administration API."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import overload

from starlette.responses import JSONResponse, Response

from doorward.accounts.audit.audit_log import Record
from doorward.accounts.factors.records import CodeLock
from doorward.accounts.passwords.regulation import Lock
from doorward.accounts.sessions.sessions import Session
from doorward.accounts.token import ApiToken
from doorward.accounts.user import User
from doorward.dialects.api.shapes import (
    ApiAskedRule,
    ApiCondition,
    ApiEmail,
    ApiExplanation,
    ApiLock,
    ApiPlace,
    ApiReading,
    ApiRecord,
    ApiSession,
    ApiTokenInfo,
    ApiUser,
)
from doorward.dialects.shapes import Shape
from doorward.gate.rules import Condition
from doorward.web.explanation import Explanation, SettingPlace

NO_STORE = {"cache-control": "no-store"}


def render(shape: Shape, status: int = 200) -> Response:
    return JSONResponse(shape.content(), status, headers=NO_STORE)


def respond_empty() -> Response:
    return Response(status_code=204, headers=NO_STORE)


@overload
def format_time(at: float) -> str: ...
@overload
def format_time(at: float | None) -> str | None: ...
def format_time(at: float | None) -> str | None:
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def describe_user(user: User) -> ApiUser:
    return ApiUser(
        id=user.id,
        username=user.username,
        name=user.name,
        emails=[ApiEmail(address=one.address, verified=one.verified) for one in user.emails],
        groups=list(user.groups),
        roles=list(user.roles),
        super_admin=user.super_admin,
        source=user.source,
        active=user.active,
        banned=user.banned,
        must_change_password=user.must_change_password,
        created_at=format_time(user.created_at),
    )


def describe_session(session: Session) -> ApiSession:
    return ApiSession(
        id=session.id,
        user=session.user.username,
        kind=session.kind,
        method=session.method,
        address=session.address,
        user_agent=session.user_agent,
        information=session.information,
        remember=session.remember,
        created_at=format_time(session.created_at),
        last_used_at=format_time(session.last_used_at),
        ends_at=format_time(session.ends_at()),
    )


def describe_token(token: ApiToken, now: float) -> ApiTokenInfo:
    scope = token.scope
    return ApiTokenInfo(
        id=token.id,
        user=token.user.username,
        name=token.name,
        routes=list(scope.routes),
        methods=list(scope.methods),
        networks=list(scope.networks),
        scope=None if scope.admin is None else f"admin:{scope.admin}",
        created_at=format_time(token.created_at),
        expires_at=format_time(token.expires_at),
        last_used_at=format_time(token.last_used_at),
        address=token.address,
        user_agent=token.user_agent,
        ended=token.is_over(now),
    )


def describe_lock(lock: Lock) -> ApiLock:
    return ApiLock(
        scope=lock.scope, network=lock.network, user=lock.user, until=format_time(lock.until)
    )


def describe_code_lock(lock: CodeLock) -> ApiLock:
    return ApiLock(scope="user", network=None, user=lock.username, until=format_time(lock.until))


def describe_explanation(found: Explanation) -> ApiExplanation:
    line, *headers = found.head.rstrip("\r\n").split("\r\n")
    return ApiExplanation(
        outcome=found.outcome,
        status=found.status,
        code=found.code,
        message=found.message,
        user=found.user,
        level=found.level,
        address=found.address,
        route=None if found.route is None else _describe_place(found.route),
        upstream=list(found.upstream),
        readings=[
            ApiReading(path=one.path, leads_to=one.leads_to, agrees=one.agrees)
            for one in found.readings
        ],
        rules=[
            ApiAskedRule(
                place=_describe_place(rule.place),
                requires=rule.requires,
                conditions=_describe_conditions(rule.conditions),
                applies=rule.applies,
            )
            for rule in found.rules
        ],
        demands=[_describe_conditions(demand) for demand in found.demands],
        request_line=line or None,
        headers=[header.split(": ", 1) for header in headers],
        notes=list(found.notes),
    )


def _describe_place(place: SettingPlace) -> ApiPlace:
    return ApiPlace(key=place.key, line=place.line, name=place.name)


def _describe_conditions(conditions: Iterable[Condition]) -> list[ApiCondition]:
    return [ApiCondition(name=one.name, says=one.says, holds=one.holds) for one in conditions]


def describe_record(record: Record) -> ApiRecord:
    event = record.event
    return ApiRecord(
        number=record.number,
        at=format_time(event.at),
        kind=event.kind.value,
        actor=event.actor,
        subject=event.subject,
        address=event.address,
        session=event.session,
        request_id=event.request_id,
        outcome=event.outcome,
        detail=event.detail,
    )
