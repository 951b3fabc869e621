"""The objects of the `alekeagle` dialect. Knows keys and types; must not know when each is sent."""

from typing import Literal

from pydantic import Field

from doorward.dialects.shapes import Shape, absent, examples


class AlekeagleCredentials(Shape):
    model_config = examples({"user": "alice", "pass": "correct horse", "rememberMe": True})

    user: str
    pass_: str = Field(alias="pass")
    rememberMe: bool | int | str = absent()


class AlekeagleCode(Shape):
    """Without `code`, one is mailed."""

    token: str
    type: Literal["totp", "email", "backup"]
    code: str = absent()


class AlekeagleSecondStep(Shape):
    model_config = examples({"2fa": {"token": "WIQ9jEBf", "type": "totp", "code": "123456"}})

    second: AlekeagleCode = Field(alias="2fa")


class AlekeagleIds(Shape):
    model_config = examples({"sessions": ["7kQ3pXwYb2hTnDm9c"]})

    sessions: list[str | int]


class AlekeagleToken(Shape):
    token: str
    exp: int


class AlekeagleSession(Shape):
    """`iat` is its id; times are Unix seconds."""

    iat: int
    exp: int
    name: str
    sub: str


class AlekeagleSessions(Shape):
    count: int
    items: list[AlekeagleSession]


class AlekeagleDone(Shape):
    code: str
    message: str


class AlekeagleRemoved(Shape):
    count: int
    type: str


class AlekeagleError(Shape):
    code: str
    message: str
    fields: list[str] = absent()


class AlekeagleChallenge(Shape):
    code: str
    message: str
    token: str
    exp: int
    types: list[str]


class AlekeaglePage(Shape):
    limit: int = absent()
    offset: int = absent()


class AlekeagleSparing(Shape):
    allButSelf: bool = absent()
