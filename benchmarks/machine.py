"""What the figures were measured on: the machine, and Python with how it was built."""

from __future__ import annotations

import os
import platform
import sysconfig
from pathlib import Path


def python() -> str:
    """Version and build, such as "CPython 3.11.2 (with PGO and LTO)"."""
    return f"{platform.python_implementation()} {platform.python_version()} ({build()})"


def build() -> str:
    """How Python was built, as far as it tells."""
    if (
        "deb_system" in sysconfig.get_scheme_names()
        and sysconfig.get_config_var("prefix") == "/usr"
    ):
        # Debian and Ubuntu build with both, and take the flags out of what sysconfig says.
        return "a build of Debian's or Ubuntu's, which is with PGO and LTO"
    options = sysconfig.get_config_var("CONFIG_ARGS") or ""
    pgo = "with" if "--enable-optimizations" in options else "without"
    lto = "with" if "--with-lto" in options else "without"
    return f"{pgo} PGO, {lto} LTO"


def machine() -> str:
    return f"{os.cpu_count()} cores of {cpu()}, Linux {platform.release()}"


def cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
