"""A mail server in this event loop, with or without TLS, that keeps the mails it gets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.support.certificates import Authority
from tests.support.mail_server import Certificate, Serve, Sink, serving


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with AsyncExitStack() as stack:

        async def once(**how: Any) -> Sink:
            return await stack.enter_async_context(serving(**how))

        yield once


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for 127.0.0.1 and mail.test, and an authority that vouches for it."""
    authority = Authority(tmp_path_factory.mktemp("certificate"))
    pair = authority.issue("mail.test", "127.0.0.1")
    return Certificate(authority.serving(pair), authority.believing())
