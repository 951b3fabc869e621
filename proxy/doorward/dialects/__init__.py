"""Four translators between APIs that exist and one core: each speaks a document's dialect.

They decide nothing; they must not know SQL or each other.
"""
