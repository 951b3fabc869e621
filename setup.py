"""The one part that is compiled: the head reader. Everything else is in pyproject.toml.

Without a compiler, Python's headers or Cython it is left out, and its twin in Python serves.
DOORWARD_EXTENSION=required makes that an error.
"""

import hashlib
import os
import sys
from pathlib import Path

from setuptools import Extension, setup

SOURCE = "proxy/doorward/http1/_heads.pyx"
digest = hashlib.sha256((Path(__file__).parent / SOURCE).read_bytes()).hexdigest()

setup(
    ext_modules=[
        Extension(
            "doorward.http1._heads",
            [SOURCE],
            # The reader does not count what was compiled from another source.
            define_macros=[("DOORWARD_HEADS_DIGEST", f'"{digest}"')],
            extra_compile_args=[] if sys.platform == "win32" else ["-O3"],
            optional=os.environ.get("DOORWARD_EXTENSION") != "required",
        )
    ]
)
