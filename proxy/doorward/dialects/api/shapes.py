"""The objects of the administration API. Knows keys and types; must not know when each is sent.

Times are RFC 3339 in UTC; null means never. `next` is the `cursor` of the next page.
"""

from pydantic import Field

from doorward.dialects.shapes import Shape, absent, examples

# Requests


class ApiPage(Shape):
    limit: int = absent(description="Maximum number of entries, 1 to 200; the default is 50.")
    cursor: str = absent(description="`next` of the previous page.")


class ApiUserSearch(Shape):
    q: str = absent(description="Beginning of a name or verified address.")
    banned: bool = absent()
    limit: int = absent(description="Maximum number of entries, 1 to 200; the default is 50.")
    cursor: str = absent(description="`next` of the previous page.")


class ApiRecordSearch(Shape):
    user: str = absent(description="The user who did it, or to whom it was done.")
    kind: str = absent()
    since: str = absent(description="RFC 3339, such as 2026-01-31T00:00:00Z.")
    limit: int = absent(description="Maximum number of entries, 1 to 200; the default is 50.")
    cursor: str = absent(description="`next` of the previous page.")


class ApiFollow(Shape):
    user: str = absent(description="The user who did it, or to whom it was done.")
    kind: str = absent()


class ApiNewUser(Shape):
    model_config = examples({"username": "alice", "email": "alice@example.com", "groups": ["wiki"]})

    username: str
    name: str = absent()
    email: str = absent(description="Counts as verified.")
    groups: list[str] = absent()
    roles: list[str] = absent(description="Includes `admin` for an administrator.")
    password: str = absent(description="If absent, a password is generated.")
    must_change_password: bool = absent(description="Always true for a generated password.")


class ApiChange(Shape):
    """Absent fields stay unchanged; lists are replaced."""

    model_config = examples({"groups": ["wiki", "ops"]})

    name: str = absent(description="An empty string removes it.")
    email: str = absent(
        description="Replaces all addresses, and counts as verified; an empty string removes them."
    )
    groups: list[str] = absent()
    roles: list[str] = absent(description="Includes `admin` for an administrator.")
    must_change_password: bool = absent()


class ApiNewPassword(Shape):
    """Without `password`, one is generated. The user has to change it at the next login."""

    model_config = examples(
        {"password": "violet tractor under seven moons", "must_change_password": True}
    )

    password: str = absent()
    must_change_password: bool = absent()


class ApiNothing(Shape):
    pass


class ApiNetwork(Shape):
    model_config = examples({"address": "192.0.2.1"})

    address: str


# Answers


class ApiEmail(Shape):
    address: str
    verified: bool


class ApiUser(Shape):
    id: str
    username: str
    name: str | None
    emails: list[ApiEmail]
    groups: list[str]
    roles: list[str]
    super_admin: bool
    source: str
    active: bool
    banned: bool
    must_change_password: bool
    created_at: str


class ApiUserDetails(Shape):
    user: ApiUser
    second_factors: list[str]


class ApiUsers(Shape):
    users: list[ApiUser]
    next: str | None


class ApiUserAdded(Shape):
    """`password`: the generated one. It is shown only once, and the user has to change it at the
    first login. null if the request contained one."""

    user: ApiUser
    password: str | None


class ApiPasswordSet(Shape):
    """`password`: the generated one, which is shown only once. null if the request contained
    one."""

    password: str | None


class ApiSession(Shape):
    id: str
    user: str
    kind: str
    method: str
    address: str
    user_agent: str
    information: str
    remember: bool
    created_at: str
    last_used_at: str
    ends_at: str


class ApiSessions(Shape):
    sessions: list[ApiSession]
    next: str | None


class ApiUserSessions(Shape):
    sessions: list[ApiSession]


class ApiTokenInfo(Shape):
    id: str
    user: str
    name: str
    routes: list[str]
    methods: list[str]
    networks: list[str]
    scope: str | None
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    address: str
    user_agent: str
    ended: bool


class ApiTokenList(Shape):
    tokens: list[ApiTokenInfo]
    next: str | None


class ApiUserTokens(Shape):
    tokens: list[ApiTokenInfo]


class ApiEnded(Shape):
    ended: int


class ApiLock(Shape):
    """`scope`: user or network. If `network` is null, the user is locked out from everywhere."""

    scope: str
    network: str | None
    user: str | None
    until: str


class ApiLocks(Shape):
    passwords: list[ApiLock]
    codes: list[ApiLock]


class ApiRecord(Shape):
    number: int
    at: str
    kind: str
    actor: str
    subject: str
    address: str
    session: str
    request_id: str
    outcome: str
    detail: str


class ApiRecords(Shape):
    records: list[ApiRecord]
    next: str | None


class ApiQuestion(Shape):
    url: str = Field(description="A URL of http or https, or a path.", examples=["/wiki/Start"])
    method: str = absent(description="GET otherwise.")
    user: str = absent(description="Name or verified address; if absent, no user.")
    address: str = absent(description="The client's address; the default is 127.0.0.1.")
    second_factor: bool = absent(description="Whether a second factor was just confirmed.")


class ApiPlace(Shape):
    """A place in the configuration. `line` is null if it is not in a file."""

    key: str
    line: int | None
    name: str


class ApiCondition(Shape):
    name: str
    says: str
    holds: bool


class ApiAskedRule(Shape):
    place: ApiPlace
    requires: str
    conditions: list[ApiCondition]
    applies: bool


class ApiReading(Shape):
    path: str
    leads_to: str
    agrees: bool


class ApiExplanation(Shape):
    """`outcome`: forwarded, refused or internal. The last of `rules` decided; one of `demands` has
    to be met completely. `headers`: names and values that would be sent."""

    outcome: str
    status: int
    code: str
    message: str
    user: str
    level: str
    address: str
    route: ApiPlace | None
    upstream: list[str]
    readings: list[ApiReading]
    rules: list[ApiAskedRule]
    demands: list[list[ApiCondition]]
    request_line: str | None
    headers: list[list[str]]
    notes: list[str]


class ApiError(Shape):
    error: str
    message: str
