"""The objects of the administration API. Knows keys and types; must not know when each is sent.

Times are RFC 3339 in UTC, null is never. `next` is the `cursor` of the page that follows.
"""

from pydantic import Field

from doorward.dialects.shapes import Shape, absent, examples

# What is sent


class ApiPage(Shape):
    limit: int = absent(description="Most entries of the page, 1 to 200; 50 otherwise.")
    cursor: str = absent(description="`next` of the page before.")


class ApiUserSearch(Shape):
    q: str = absent(description="How a name or verified address begins.")
    banned: bool = absent()
    limit: int = absent(description="Most entries of the page, 1 to 200; 50 otherwise.")
    cursor: str = absent(description="`next` of the page before.")


class ApiRecordSearch(Shape):
    user: str = absent(description="Who did it, or whom it was done to.")
    kind: str = absent()
    since: str = absent(description="RFC 3339, such as 2026-01-31T00:00:00Z.")
    limit: int = absent(description="Most entries of the page, 1 to 200; 50 otherwise.")
    cursor: str = absent(description="`next` of the page before.")


class ApiFollow(Shape):
    user: str = absent(description="Who did it, or whom it was done to.")
    kind: str = absent()


class ApiNewUser(Shape):
    model_config = examples({"username": "alice", "email": "alice@example.com", "groups": ["wiki"]})

    username: str
    name: str = absent()
    email: str = absent(description="Counts as verified.")
    groups: list[str] = absent()
    roles: list[str] = absent(description="With `admin` for an administrator.")
    password: str = absent(description="If absent, one is generated.")
    must_change_password: bool = absent(description="Always true for a generated password.")


class ApiChange(Shape):
    """What is absent stays as it is; lists are replaced."""

    model_config = examples({"groups": ["wiki", "ops"]})

    name: str = absent(description="Empty for none.")
    email: str = absent(
        description="Replaces all addresses, and counts as verified; empty for none."
    )
    groups: list[str] = absent()
    roles: list[str] = absent(description="With `admin` for an administrator.")
    must_change_password: bool = absent()


class ApiNewPassword(Shape):
    """Without a password one is generated, which has to be changed at the next login."""

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


# What is answered


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
    """`password` is a generated one, which is shown only now and has to be changed at the first
    login; null if one was given."""

    user: ApiUser
    password: str | None


class ApiPasswordSet(Shape):
    """`password` is a generated one, which is shown only now; null if one was given."""

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
    """`scope`: user or network. `network` null: from everywhere."""

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
    user: str = absent(description="Name or verified address; nobody otherwise.")
    address: str = absent(description="Where from; 127.0.0.1 otherwise.")
    second_factor: bool = absent(description="As if one had been given just now.")


class ApiPlace(Shape):
    """Where in the configuration something stands. `line` is null where no file has it."""

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
    """`outcome`: forwarded, refused or internal. The last of `rules` decided; the conditions of one
    of `demands` have to hold together. `headers` are names and values that would be sent."""

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
