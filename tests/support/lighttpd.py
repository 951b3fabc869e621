"""PHP in a common setup: `index.php` of a folder by CGI, on lighttpd."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

HOW_TO_GET_IT = "there is no PHP: `apt-get install lighttpd php-cgi` brings it and its server"


def serve_php(folder: Path, port: int) -> list[str]:
    """The command that serves the folder's `index.php` for every path. Skips the test if a program
    is missing."""
    lighttpd = shutil.which("lighttpd") or shutil.which("lighttpd", path="/usr/sbin")
    php = shutil.which("php-cgi")
    if lighttpd is None or php is None:
        pytest.skip(HOW_TO_GET_IT)
    (folder / "lighttpd.conf").write_text(
        'server.modules = ("mod_rewrite", "mod_cgi")\n'
        f'server.document-root = "{folder}"\n'
        f'server.bind = "127.0.0.1"\nserver.port = {port}\n'
        'url.rewrite-once = ("" => "/index.php")\n'
        f'cgi.assign = (".php" => "{php}")\n'
    )
    return [lighttpd, "-D", "-f", os.fspath(folder / "lighttpd.conf")]
