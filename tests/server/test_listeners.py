"""If an address cannot be used, the error names the reason and what to do."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest
from doorward.server.listeners import ListenFault, bind, explain_fault, find_unusable
from doorward.settings import Listen, Settings, settings_from


@pytest.mark.parametrize(
    ("number", "port", "says"),
    [
        (errno.EACCES, 443, "ports below 1024 are reserved; choose a higher one, or allow it with"),
        (errno.EACCES, 8080, "Permission denied; choose another address"),
        (errno.EADDRINUSE, 443, "already in use; choose another or stop the program"),
        (errno.EADDRNOTAVAIL, 443, "no such address"),
    ],
)
def test_an_error_says_what_to_do(number: int, port: int, says: str) -> None:
    assert says in explain_fault(Listen("127.0.0.1", port), OSError(number, os.strerror(number)))


def test_an_address_of_another_machine_is_a_fault_of_its_setting() -> None:
    with pytest.raises(
        ListenFault, match=r"admin_listen: cannot listen on 192\.0\.2\.1:8080: this"
    ):
        bind(Listen("192.0.2.1", 8080), "admin_listen").close()


def build(folder: Path, listen: str) -> Settings:
    values = {"listen": listen, "public_url": "http://app.test", "admin_listen": "off"}
    return settings_from(values | {"routes": [{"upstream": "http://a"}]}, folder)


@pytest.mark.outside
@pytest.mark.parametrize(
    ("listen", "says"),
    [
        ("192.0.2.1:8080", "this machine has no such address"),
        ("nowhere.invalid:8080", "choose another address"),
        ("unix:gone/door.sock", "there is no directory"),
        ("unix:precious", "another file has this name"),
        ("unix:folder", "another file has this name"),
        ("127.0.0.2:0", None),
        ("127.0.0.1:0", None),
        ("unix:door.sock", None),
        ("unix:forgotten.sock", None),
    ],
)
def test_errors_that_would_prevent_the_start_are_found_before(
    tmp_path: Path, listen: str, says: str | None
) -> None:
    (tmp_path / "precious").write_text("data")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as forgotten:
        forgotten.bind(os.fspath(tmp_path / "forgotten.sock"))
    settings = build(tmp_path, listen)
    if says is None:
        assert find_unusable(settings) == ()
        bind(settings.listen, "listen").close()
        return
    (sentence,) = find_unusable(settings)
    assert sentence.startswith("listen: ") and says in sentence
    with pytest.raises(ListenFault) as caught:
        bind(settings.listen, "listen").close()
    assert str(caught.value) == sentence


@pytest.mark.outside
def test_an_address_in_use_is_not_reported_by_the_check(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]
        assert find_unusable(build(tmp_path, f"127.0.0.2:{port}")) == ()
