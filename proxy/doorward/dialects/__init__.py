"""Four translators between existing APIs and one core. Each follows the API's own document.

They decide nothing, and must not know SQL or each other.
"""
