"""The objects of the `rocketchat` dialect. Knows keys and types; must not know when each is
sent."""

from typing import Literal

from pydantic import Field

from doorward.dialects.shapes import Shape, absent, examples

# Requests


class RocketchatName(Shape):
    username: str = absent()
    email: str = absent()


class RocketchatDigest(Shape):
    digest: str
    algorithm: Literal["sha-256"]


class RocketchatCredentials(Shape):
    """One of `user`, `username` and `email`, with `password`; or `resume` alone."""

    model_config = examples(
        {"user": "alice", "password": "correct horse"},
        {
            "user": {"email": "alice@example.com"},
            "password": {"digest": "0" * 64, "algorithm": "sha-256"},
        },
        {"resume": "a" * 43},
    )

    user: str | RocketchatName = absent()
    username: str = absent()
    email: str = absent()
    password: str | RocketchatDigest = absent()
    code: str = absent()
    resume: str = absent()


class RocketchatId(Shape):
    model_config = examples({"sessionId": "7kQ3pXwYb2hTnDm9c"})

    sessionId: str


class RocketchatUserId(Shape):
    model_config = examples({"userId": "7kQ3pXwYb2hTnDm9c"})

    userId: str = absent()


class RocketchatAddressee(Shape):
    model_config = examples({"emailOrUsername": "alice@example.com"})

    emailOrUsername: str


class RocketchatCode(Shape):
    model_config = examples({"code": "123456"})

    code: str


class RocketchatNothing(Shape):
    pass


class RocketchatPaging(Shape):
    offset: int = absent()
    count: int = absent()
    sort: str = absent(description='JSON, such as {"loginAt": -1}.')
    filter: str = absent()


# Users and sessions


class RocketchatEmail(Shape):
    address: str
    verified: bool


class RocketchatPreferences(Shape):
    preferences: dict[str, str]


class RocketchatPasswordService(Shape):
    exists: bool


class RocketchatFactor(Shape):
    enabled: bool


class RocketchatServices(Shape):
    password: RocketchatPasswordService
    totp: RocketchatFactor
    email2fa: RocketchatFactor


class RocketchatUser(Shape):
    id_: str = Field(alias="_id")
    name: str
    emails: list[RocketchatEmail]
    status: str
    statusConnection: str
    username: str
    utcOffset: int
    active: bool
    roles: list[str]
    settings: RocketchatPreferences
    avatarUrl: str
    email: str
    services: RocketchatServices
    isOAuthUser: bool


class RocketchatMe(RocketchatUser):
    success: Literal[True]


class RocketchatSystem(Shape):
    name: str
    version: str


class RocketchatDevice(Shape):
    type: str
    name: str
    longVersion: str
    os: RocketchatSystem
    version: str


class RocketchatSession(Shape):
    sessionId: str
    userId: str
    device: RocketchatDevice
    host: str
    ip: str
    loginAt: str
    id_: str = Field(alias="_id")
    current: bool


class RocketchatOwner(Shape):
    id_: str = Field(alias="_id")
    username: str
    name: str


class RocketchatOwnedSession(RocketchatSession):
    user_: RocketchatOwner = Field(alias="_user")


class RocketchatSeenSession(RocketchatOwnedSession):
    success: Literal[True]


class RocketchatRecord(Shape):
    id_: str = Field(alias="_id")
    type: str
    sessionId: str
    instanceId: str
    loginToken: str
    ip: str
    host: str
    device: RocketchatDevice
    userId: str
    roles: list[str]
    mostImportantRole: str
    loginAt: str
    day: int
    month: int
    year: int
    searchTerm: str
    createdAt: str
    updatedAt_: str = Field(alias="_updatedAt")
    closedAt: str
    lastActivityAt: str
    logoutAt: str = absent()
    logoutBy: str = absent()
    success: Literal[True]


# Answers


class RocketchatLogin(Shape):
    authToken: str
    userId: str
    me: RocketchatUser


class RocketchatLoggedIn(Shape):
    status: Literal["success"]
    data: RocketchatLogin


class RocketchatText(Shape):
    message: str


class RocketchatLoggedOut(Shape):
    status: Literal["success"]
    data: RocketchatText


class RocketchatSessions(Shape):
    sessions: list[RocketchatSession]
    total: int
    count: int
    offset: int
    success: Literal[True]


class RocketchatOwnedSessions(Shape):
    sessions: list[RocketchatOwnedSession]
    total: int
    count: int
    offset: int
    success: Literal[True]


class RocketchatEnded(Shape):
    sessionId: str
    success: Literal[True]


class RocketchatKept(Shape):
    """`token`: only for a caller that sent it as a header."""

    token: str = absent()
    tokenExpires: str
    success: Literal[True]


class RocketchatMessage(Shape):
    message: str
    success: Literal[True]


class RocketchatDone(Shape):
    success: Literal[True]


class RocketchatSecret(Shape):
    secret: str
    url: str
    success: Literal[True]


class RocketchatCodes(Shape):
    codes: list[str]
    success: Literal[True]


class RocketchatDisabled(Shape):
    disabled: Literal[True]
    success: Literal[True]


class RocketchatRemaining(Shape):
    remaining: int
    success: Literal[True]


# Errors


class RocketchatDetails(Shape):
    function: str = absent()
    method: str | None = absent()
    codeGenerated: bool = absent()
    emailOrUsername: str | None = absent()
    codeCount: int = absent()
    codeExpires: list[str] = absent()
    availableMethods: list[str] = absent()


class RocketchatFailure(Shape):
    success: Literal[False]
    error: str
    errorType: str = absent()
    details: RocketchatDetails = absent()


class RocketchatRefusal(Shape):
    """The error form of login requests and of requests without a login."""

    status: Literal["error"]
    error: str = absent()
    details: RocketchatDetails = absent()
    message: str
