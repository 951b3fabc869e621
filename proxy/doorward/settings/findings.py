"""Knows settings that are valid but probably not intended: rules that never apply or that an
earlier, weaker rule overrides, and settings that allow more than they seem to. It must not refuse
them; `config check` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network
from itertools import combinations
from typing import TypeVar

from doorward.path_readings import find_other_reading
from doorward.settings.addresses import Network
from doorward.settings.faults import Fault, KeyPath, Wrong, format_path
from doorward.settings.models import Settings
from doorward.settings.rules import Alternative, Rule

Placed = tuple[KeyPath, Rule]
Found = Iterator[tuple[KeyPath, Wrong]]

T = TypeVar("T")

_READING = frozenset(("GET", "HEAD", "OPTIONS"))
# More public addresses than one organisation has, so the network also contains other people's
# machines.
_WIDEST_V4, _WIDEST_V6 = 16, 32


def list_findings(settings: Settings) -> tuple[Fault, ...]:
    """The settings that are probably not intended, each with its key and its line in the file."""
    source = str(settings.file or "")
    found = [(path, wrong) for find in _FINDERS for path, wrong in find(settings)]
    return tuple(
        Fault(format_path(path), settings.find_line(path), wrong.message, wrong.hint, source)
        for path, wrong in found
    )


def _lists(settings: Settings) -> Iterator[Sequence[Placed]]:
    """Every list of rules. In each, the first rule that applies decides."""
    for number, route in enumerate(settings.routes):
        yield [(("routes", number, "rules", at), rule) for at, rule in enumerate(route.rules)]
    rules = settings.access.rules
    yield [(("access", "rules", at), rule) for at, rule in enumerate(rules)]


def _all_rules(settings: Settings) -> Iterator[Placed]:
    for rules in _lists(settings):
        yield from rules


def shadowed_rules(settings: Settings) -> Found:
    for rules in _lists(settings):
        for at, (path, rule) in enumerate(rules):
            first = next((place for place, other in rules[:at] if _covers(other, rule)), None)
            if first is not None:
                message = (
                    f"never applies, because {format_path(first)} already decides all its requests"
                )
                yield path, Wrong(message, "move it up, or remove it")


def misplaced_rules(settings: Settings) -> Found:
    for number, route in enumerate(settings.routes):
        beneath = Rule.model_construct(path=f"{route.path.rstrip('/')}/*")
        for at, rule in enumerate(route.rules):
            if rule.path is not None and not _paths_overlap(rule, beneath):
                message = (
                    f"never applies, because the route only has {route.path} and everything below"
                )
                yield ("routes", number, "rules", at), Wrong(message, "write the full path")


def ambiguous_paths(settings: Settings) -> Found:
    """A route or rule for such a path lacks its other readings, so its requests are refused."""
    for number, route in enumerate(settings.routes):
        if other := find_other_reading(route.path.encode()):
            yield ("routes", number, "path"), _ambiguous(route.path, other, "write {}")
    for place, rule in _all_rules(settings):
        if rule.path is not None and (other := find_other_reading(rule.path.encode())):
            hint = "write {}, or a path_regex that matches every reading"
            yield (*place, "path"), _ambiguous(rule.path, other, hint)


def _ambiguous(path: str, other: bytes, hint: str) -> Wrong:
    read = other.decode()
    message = f"never applies, because {path} can also be read as {read}"
    return Wrong(message, hint.format(read))


def weakened_rules(settings: Settings) -> Found:
    """An exception from a wider rule is intended; an overlap of two rules is not."""
    for rules in _lists(settings):
        for (first, earlier), (path, rule) in combinations(rules, 2):
            crosses = _overlap(earlier, rule)
            crosses = crosses and not _covers(earlier, rule) and not _covers(rule, earlier)
            if crosses and _strength(earlier) < _strength(rule):
                message = (
                    f"requires more than {format_path(first)}, which already decides some requests"
                )
                yield path, Wrong(message, "move it up, or make the other one narrower")


def loose_expressions(settings: Settings) -> Found:
    for path, rule in _all_rules(settings):
        regex = rule.path_regex
        if regex is not None and not (regex.startswith("^") and regex.endswith("$")):
            message = "is not anchored, but a pattern always has to match the whole path"
            yield (*path, "path_regex"), Wrong(message, "write it as ^…$")


def public_writes(settings: Settings) -> Found:
    """A rule for some networks is not for everybody."""
    for path, rule in _all_rules(settings):
        writes = not rule.methods or not _READING.issuperset(rule.methods)
        if rule.require == "public" and writes and not rule.networks:
            message = "also lets everybody write"
            yield path, Wrong(message, "add methods: [GET, HEAD] to allow reading only")


def wide_trust(settings: Settings) -> Found:
    for number, peers in enumerate(settings.trusted_proxies):
        if not isinstance(peers, IPv4Network | IPv6Network) or peers.is_private:
            continue
        widest = _WIDEST_V4 if peers.version == 4 else _WIDEST_V6
        if peers.prefixlen < widest:
            message = f"{peers} is far larger than any network of proxies"
            yield (
                ("trusted_proxies", number),
                Wrong(message, "list only their own addresses"),
            )


_FINDERS = (
    shadowed_rules,
    misplaced_rules,
    ambiguous_paths,
    weakened_rules,
    loose_expressions,
    public_writes,
    wide_trust,
)


# Conditions of rules


def _covers(one: Rule, other: Rule) -> bool:
    """Whether one rule applies to every request that the other applies to."""
    return (
        _covers_path(one, other)
        and _covers_all(one.host, other.host, _covers_host)
        and _covers_all(_methods(one), _methods(other), str.__eq__)
        and _covers_all(one.networks, other.networks, _covers_network)
    )


def _covers_all(ones: Sequence[T], others: Sequence[T], covers: Callable[[T, T], bool]) -> bool:
    """An empty list matches everything."""
    if not ones:
        return True
    return bool(others) and all(any(covers(one, other) for one in ones) for other in others)


def _overlap(one: Rule, other: Rule) -> bool:
    return (
        _paths_overlap(one, other)
        and _any_pair(one.host, other.host, lambda a, b: _covers_host(a, b) or _covers_host(b, a))
        and _any_pair(_methods(one), _methods(other), str.__eq__)
        and _any_pair(one.networks, other.networks, _networks_overlap)
    )


def _any_pair(ones: Sequence[T], others: Sequence[T], overlap: Callable[[T, T], bool]) -> bool:
    return not ones or not others or any(overlap(one, other) for one in ones for other in others)


def _methods(rule: Rule) -> tuple[str, ...]:
    return ("GET", "HEAD") if rule.preset is not None else rule.methods


def _covers_host(one: str, other: str) -> bool:
    return one == other or (one.startswith("*.") and other.endswith(one[1:]))


def _covers_network(one: Network, other: Network) -> bool:
    return one.version == other.version and other.subnet_of(one)  # type: ignore[arg-type]


def _networks_overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _takes_every_path(rule: Rule) -> bool:
    return rule.path_regex is None and rule.preset is None and rule.path in (None, "/*")


def _covers_path(one: Rule, other: Rule) -> bool:
    if _takes_every_path(one):
        return True
    # two expressions are known to match the same paths only if they are equal
    if one.path is None or other.path is None:
        same = (one.path_regex, one.preset) == (other.path_regex, other.preset)
        return same and one.path == other.path
    (ones, beneath), (others, is_others_beneath) = _split(one.path), _split(other.path)
    if beneath:
        return len(others) >= len(ones) and all(map(_covers_segment, ones, others))
    same_length = len(ones) == len(others) and not is_others_beneath
    return same_length and all(map(_covers_segment, ones, others))


def _paths_overlap(one: Rule, other: Rule) -> bool:
    if _takes_every_path(one) or _takes_every_path(other):
        return True
    # whether two expressions have paths in common is not known
    if one.path is None or other.path is None:
        return _covers_path(one, other)
    (ones, beneath), (others, is_others_beneath) = _split(one.path), _split(other.path)
    pairs = zip(ones, others, strict=False)
    if not all(_covers_segment(a, b) or _covers_segment(b, a) for a, b in pairs):
        return False
    if len(ones) == len(others):
        return True
    return beneath if len(ones) < len(others) else is_others_beneath


def _split(pattern: str) -> tuple[list[str], bool]:
    """The segments, and whether everything below them matches too."""
    return pattern.removesuffix("/*").split("/"), pattern.endswith("/*")


def _covers_segment(one: str, other: str) -> bool:
    return one == other or (one == "*" and other != "")


# How much rules require


def _strength(rule: Rule) -> int:
    """0 if everybody is allowed, rising to the value for nobody."""
    if rule.is_public:
        return 0
    return min((_demanded(each) for each in rule.alternatives), default=5)


def _demanded(alternative: Alternative) -> int:
    named = alternative.groups or alternative.users or alternative.roles or alternative.networks
    return (3 if alternative.require == "two_factor" else 1) + bool(named)
