"""Why an address cannot be listened on is said with what to do about it."""

from __future__ import annotations

import errno
import os

import pytest
from doorward.server.listeners import ListenFault, bind, explain_fault
from doorward.settings import Listen


@pytest.mark.parametrize(
    ("number", "port", "says"),
    [
        (errno.EACCES, 443, "ports below 1024 are reserved; choose a higher one, or allow it with"),
        (errno.EACCES, 8080, "Permission denied; choose another address"),
        (errno.EADDRINUSE, 443, "already in use; choose another or stop the program"),
        (errno.EADDRNOTAVAIL, 443, "no such address"),
    ],
)
def test_a_reason_says_what_to_do(number: int, port: int, says: str) -> None:
    assert says in explain_fault(Listen("127.0.0.1", port), OSError(number, os.strerror(number)))


def test_an_address_of_another_machine_is_a_fault_of_its_setting() -> None:
    with pytest.raises(
        ListenFault, match=r"admin_listen: cannot listen on 192\.0\.2\.1:8080: this"
    ):
        bind(Listen("192.0.2.1", 8080), "admin_listen").close()
