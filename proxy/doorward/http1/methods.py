"""Request methods: those that the parser knows, and the syntax of others.

Must not know what a method means.
"""

import re

# The methods that llhttp accepts for HTTP. Others are parsed under a stand-in. Methods in lower
# case are refused: an application might treat `get` as GET, while rules for GET do not apply to it.
KNOWN = frozenset(
    b"GET HEAD POST PUT PATCH DELETE OPTIONS TRACE CONNECT COPY LOCK MKCOL MOVE PROPFIND PROPPATCH"
    b" SEARCH UNLOCK BIND REBIND UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY"
    b" SUBSCRIBE UNSUBSCRIBE PURGE MKCALENDAR LINK UNLINK SOURCE QUERY".split()
)
NEVER = frozenset((b"PRI", b"CONNECT"))
METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Z]{1,32}")
