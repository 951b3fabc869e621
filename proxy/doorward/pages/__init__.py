"""The pages that people see, rendered with Jinja2 and one small stylesheet.

Knows forms and texts; must not know SQL, rules or how a request is forwarded.
"""

from doorward.pages.pages import Pages

__all__ = ["Pages"]
