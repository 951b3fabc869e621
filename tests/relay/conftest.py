"""The whole application over raw ASGI scopes, as the tests of the gate have it."""

from tests.gate.conftest import front as front
from tests.gate.conftest import fronts as fronts
