"""The machine that the figures were measured on, and its Python and how that was built."""

from __future__ import annotations

import os
import platform
import re
import sys
import sysconfig
from pathlib import Path


def python() -> str:
    """Version and build, such as "CPython 3.11.2 (with PGO and LTO)"."""
    return f"{platform.python_implementation()} {platform.python_version()} ({build()})"


def build() -> str:
    """How Python was built, as far as it is known."""
    packaged = "deb_system" in sysconfig.get_scheme_names() and sys.base_prefix == "/usr"
    return build_of(sysconfig.get_config_var("CONFIG_ARGS") or "", packaged)


def build_of(options: str, packaged: bool) -> str:
    """The build for these options of CPython's `configure`.

    Debian and Ubuntu package a Python with both optimizations, which its options do not show.
    """
    if packaged:
        return "packaged by Debian or Ubuntu, with PGO and LTO"
    pgo = "with" if "--enable-optimizations" in options else "without"
    lto = "with" if re.search(r"--with-lto(?!=no)", options) else "without"
    return f"{pgo} PGO, {lto} LTO"


def machine() -> str:
    return f"{os.cpu_count()} cores of {cpu()}, Linux {platform.release()}"


def cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
