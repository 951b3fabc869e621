"""The objects of the `xhr` dialect. Knows keys and types; must not know when each is sent."""

from doorward.dialects.shapes import Shape, examples


class XhrCredentials(Shape):
    model_config = examples({"username": "alice", "password": "correct horse"})

    username: str
    password: str


class XhrCode(Shape):
    model_config = examples({"token": "123456"})

    token: str


class XhrEnrolment(Shape):
    model_config = examples({"secret": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", "token": "123456"})

    secret: str
    token: str


class XhrLife(Shape):
    """`maxAge`: milliseconds until the session ends."""

    maxAge: int
    totp: bool


class XhrLogin(Shape):
    session: XhrLife


class XhrUser(Shape):
    username: str
    superAdmin: bool


class XhrSession(Shape):
    user: XhrUser
    session: XhrLife


class XhrSecret(Shape):
    secret: str


class XhrError(Shape):
    error: str
    message: str
