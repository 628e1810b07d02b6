"""Which of the available versions of a model should be served: pure functions on frozen values."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from ovms.errors import ConfigError


@dataclass(frozen=True)
class Latest:
    """The ``num_versions`` highest versions."""

    num_versions: int = 1

    def __post_init__(self) -> None:
        if self.num_versions < 1:
            raise ValueError(f'"num_versions" must be 1 or more, not {self.num_versions}')


@dataclass(frozen=True)
class All:
    """Every version there is."""


@dataclass(frozen=True)
class Specific:
    """These versions, where they exist."""

    versions: frozenset[int]


VersionPolicy = Latest | All | Specific


def choose(policy: VersionPolicy, available: Iterable[int]) -> tuple[int, ...]:
    """Return the versions that should be served, in ascending order."""
    versions = sorted(set(available))
    if isinstance(policy, Latest):
        return tuple(versions[-policy.num_versions :])
    if isinstance(policy, Specific):
        return tuple(version for version in versions if version in policy.versions)
    return tuple(versions)


def parse_policy(policy: object) -> VersionPolicy:
    """Read a policy from its JSON object, such as ``{"latest": {"num_versions": 2}}``.

    With several keys, "all" goes before "specific" and "specific" before "latest".
    Raises ConfigError that repeats the policy and says what is wrong with it.
    """
    try:
        return _parse(policy)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"ModelVersionPolicy {_as_json(policy)} is not valid. {_sentence(str(error))}") from None


def _parse(policy: object) -> VersionPolicy:
    options = _object(policy, "the policy", known=("all", "specific", "latest"))
    if "all" in options:
        _object(options["all"], '"all"', known=())
        return All()
    if "specific" in options:
        specific = _object(options["specific"], '"specific"', known=("versions",))
        if "versions" not in specific:
            raise ValueError('"specific" needs "versions", such as {"specific": {"versions": [1, 3]}}')
        return Specific(_versions(specific["versions"]))
    if "latest" in options:
        latest = _object(options["latest"], '"latest"', known=("num_versions",))
        return Latest(_whole_number(latest["num_versions"], '"num_versions"')) if latest else Latest()
    raise ValueError('expected one of "all", "specific" or "latest"')


def _object(value: object, what: str, known: tuple[str, ...]) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError(f"{what} must be a JSON object, not {_as_json(value)}")
    for key in value:
        if key not in known:
            expected = ", ".join(f'"{name}"' for name in known) or "nothing inside"
            raise ValueError(f'unknown key "{key}" in {what}; expected {expected}')
    return value


def _versions(value: object) -> frozenset[int]:
    if not isinstance(value, list):
        raise TypeError(f'"versions" must be a list, such as [1, 3], not {_as_json(value)}')
    if not value:
        raise ValueError('"versions" must name at least one version, such as [1, 3]')
    return frozenset(_whole_number(version, "a version") for version in value)


def _whole_number(value: object, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{what} must be a whole number, not {_as_json(value)}")
    return value


def _as_json(value: object) -> str:
    return json.dumps(value, default=str)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
