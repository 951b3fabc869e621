"""Sessions and users as JSON of the `rocketchat` dialect.

Knows shapes; must not know who may see them.
"""

import base64
import hashlib
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.responses import JSONResponse, Response

from doorward.accounts import permissions
from doorward.accounts.devices import Device, parse_device
from doorward.accounts.sessions.sessions import Session
from doorward.accounts.user import User
from doorward.dialects.rocketchat.error_table import format_time
from doorward.dialects.rocketchat.shapes import (
    RocketchatDevice,
    RocketchatEmail,
    RocketchatFactor,
    RocketchatOwner,
    RocketchatPasswordService,
    RocketchatPreferences,
    RocketchatServices,
    RocketchatSystem,
)
from doorward.dialects.shapes import Shape

ID_CHARACTERS = 17


SUCCESS: dict[str, Any] = {"success": True}


def render_success(kind: type[Shape], **data: Any) -> Response:
    """The data, and `success` after it."""
    return render_shape(kind(**data, **SUCCESS))


def render_shape(shape: Shape, status: int = 200) -> Response:
    return JSONResponse(shape.content(), status, headers={"cache-control": "no-store"})


def render_device(found: Device) -> RocketchatDevice:
    return RocketchatDevice(
        type=found.type,
        name=found.name,
        longVersion=found.long_version,
        os=RocketchatSystem(name=found.os_name, version=found.os_version),
        version=found.version,
    )


def render_session(session: Session, current: Session, public_url: str) -> dict[str, Any]:
    """The keys of a RocketchatSession."""
    return {
        "sessionId": session.id,
        "userId": session.user.id,
        "device": render_device(parse_device(session.user_agent)),
        "host": get_host(public_url),
        "ip": session.address,
        "loginAt": format_time(session.created_at),
        "_id": session.id,
        "current": session.number == current.number,
    }


def render_any_session(session: Session, current: Session, public_url: str) -> dict[str, Any]:
    """The keys of a RocketchatOwnedSession."""
    user = session.user
    owner = RocketchatOwner(_id=user.id, username=user.username, name=get_display_name(user))
    return render_session(session, current, public_url) | {"_user": owner}


def render_record(session: Session, public_url: str) -> dict[str, Any]:
    """The keys of a RocketchatRecord, the raw record. `loginToken` identifies the login, as the
    token's hash does in the original; the stored hash is not revealed (CVE-2026-40166)."""
    user, begun = session.user, datetime.fromtimestamp(session.created_at, UTC)
    held = list_roles(user)
    record: dict[str, Any] = {
        "_id": session.id,
        "type": "session",
        "sessionId": session.id,
        "instanceId": get_host(public_url),
        "loginToken": _build_login_token(session),
        "ip": session.address,
        "host": get_host(public_url),
        "device": render_device(parse_device(session.user_agent)),
        "userId": user.id,
        "roles": held,
        "mostImportantRole": "admin" if "admin" in held else held[0],
        "loginAt": format_time(session.created_at),
        "day": begun.day,
        "month": begun.month,
        "year": begun.year,
        "searchTerm": search_term(session),
        "createdAt": format_time(session.created_at),
        "_updatedAt": format_time(session.last_used_at),
        "closedAt": format_time(session.ended_at or session.last_used_at),
        "lastActivityAt": format_time(session.last_used_at),
    }
    if session.ended_at is not None:
        by = session.ended_by or ""
        record["logoutAt"] = format_time(session.ended_at)
        record["logoutBy"] = by if len(by) == ID_CHARACTERS else user.id
    return record


def search_term(session: Session) -> str:
    found = parse_device(session.user_agent)
    return f"{found.name}{found.type}{found.os_name}{session.id}{session.user.id}"


def render_user(user: User, factors: tuple[str, ...], public_url: str) -> dict[str, Any]:
    """The keys of a RocketchatUser."""
    return {
        "_id": user.id,
        "name": get_display_name(user),
        "emails": [RocketchatEmail(address=e.address, verified=e.verified) for e in user.emails],
        "status": "online",
        "statusConnection": "online",
        "username": user.username,
        "utcOffset": 0,
        "active": user.active,
        "roles": list_roles(user),
        "settings": RocketchatPreferences(preferences={}),
        "avatarUrl": f"{public_url}/avatar/{quote(user.username, safe='')}",
        "email": user.email or "",
        "services": RocketchatServices(
            password=RocketchatPasswordService(exists=True),
            totp=RocketchatFactor(enabled="totp" in factors),
            email2fa=RocketchatFactor(enabled="email" in factors),
        ),
        "isOAuthUser": False,
    }


def list_roles(user: User) -> list[str]:
    admin = [permissions.ADMIN] if user.super_admin else []
    return list(dict.fromkeys(["user", *user.roles, *admin]))


def get_display_name(user: User) -> str:
    return user.name or user.username


def get_host(public_url: str) -> str:
    return urlsplit(public_url).netloc


def _build_login_token(session: Session) -> str:
    digest = hashlib.sha256(b"login of session " + session.id.encode()).digest()
    return base64.b64encode(digest).decode()
