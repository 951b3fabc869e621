"""The pages people see: login, logout and messages, rendered with Jinja2 and one small stylesheet.

They know forms and words; they must not know SQL, rules or how a request is forwarded.
"""

from doorward.pages.pages import Pages

__all__ = ["Pages"]
