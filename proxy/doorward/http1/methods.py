"""Request methods: which ones the parser knows, and what may be one.

Must not know what a method means.
"""

import re

# What llhttp takes for HTTP. Others of its kind pass under a stand-in; in lower case, though, they
# might be taken for what they are not by an application behind rules that name methods.
KNOWN = frozenset(
    b"GET HEAD POST PUT PATCH DELETE OPTIONS TRACE CONNECT COPY LOCK MKCOL MOVE PROPFIND PROPPATCH"
    b" SEARCH UNLOCK BIND REBIND UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY"
    b" SUBSCRIBE UNSUBSCRIBE PURGE MKCALENDAR LINK UNLINK SOURCE QUERY".split()
)
NEVER = frozenset((b"PRI", b"CONNECT"))
METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Z]{1,32}")
