"""The objects of the `datepoll` dialect. Knows keys and types; must not know when each is sent."""

from pydantic import RootModel

from doorward.dialects.shapes import Shape, absent, examples


class DatepollStay(Shape):
    session_information: str = absent()
    stay_logged_in: bool | int | str = absent()
    code: str = absent()


class DatepollCredentials(DatepollStay):
    model_config = examples(
        {
            "username": "alice",
            "password": "correct horse",
            "session_information": "Chrome - 77; OS: Linux; Phone: false",
            "stay_logged_in": True,
        }
    )

    username: str
    password: str


class DatepollNewPassword(DatepollStay):
    model_config = examples(
        {"username": "alice", "old_password": "correct horse", "new_password": "violet tractor"}
    )

    username: str
    old_password: str
    new_password: str


class DatepollRefresh(Shape):
    model_config = examples(
        {"session_token": "a" * 64, "session_information": "Chrome - 77; OS: Linux; Phone: false"}
    )

    session_token: str
    session_information: str = absent()


class DatepollSecret(Shape):
    model_config = examples({"session_token": "a" * 64})

    session_token: str


class DatepollToken(Shape):
    token: str
    session_token: str = absent()


class DatepollRefreshed(Shape):
    msg: str
    token: str


class DatepollLink(Shape):
    href: str
    method: str


class DatepollSession(Shape):
    id: int
    information: str
    last_used: str
    delete_session: DatepollLink


class DatepollSessions(Shape):
    msg: str
    sessions: list[DatepollSession]


class DatepollDone(Shape):
    msg: str


class DatepollError(Shape):
    msg: str
    error_code: str = absent()


class DatepollFields(RootModel[dict[str, list[str]]]):
    """The errors of each field, in sentences."""
