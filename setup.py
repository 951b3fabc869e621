"""The one part that is compiled, the head reader, and the description for package indexes.

Everything else is in pyproject.toml.

Without a compiler, Python's headers or Cython it is left out, and its twin in Python serves.
DOORWARD_EXTENSION=required makes that an error.
"""

import hashlib
import os
import re
import sys
from pathlib import Path

from setuptools import Extension, setup

SOURCE = "proxy/doorward/http1/_heads.pyx"
ROOT = Path(__file__).parent
# Pictures of the README are in a clone alone; where packages are listed they would be broken.
readme = re.sub(r"^!\[.*\n\n", "", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.M)
digest = hashlib.sha256((ROOT / SOURCE).read_bytes()).hexdigest()

setup(
    long_description=readme,
    long_description_content_type="text/markdown",
    ext_modules=[
        Extension(
            "doorward.http1._heads",
            [SOURCE],
            # The reader does not count what was compiled from another source.
            define_macros=[("DOORWARD_HEADS_DIGEST", f'"{digest}"')],
            extra_compile_args=[] if sys.platform == "win32" else ["-O3"],
            optional=os.environ.get("DOORWARD_EXTENSION") != "required",
        )
    ],
)
