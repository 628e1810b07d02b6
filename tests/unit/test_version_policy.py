import pytest

from ovms.core.version_policy import All, Latest, Specific, VersionPolicy, choose, parse_policy
from ovms.errors import Code, ConfigError


@pytest.mark.parametrize(
    ("policy", "available", "aspired"),
    [
        (Latest(), [], ()),
        (Latest(), [3], (3,)),
        (Latest(), [2, 10, 9], (10,)),
        (Latest(2), [2, 10, 9], (9, 10)),
        (Latest(5), [2, 10, 9], (2, 9, 10)),
        (Latest(2), [7, 7, 7, 1], (1, 7)),
        (All(), [], ()),
        (All(), [2, 10, 9], (2, 9, 10)),
        (Specific(frozenset({1, 3})), [1, 2, 3, 4], (1, 3)),
        (Specific(frozenset({1, 3})), [3], (3,)),
        (Specific(frozenset({5})), [1, 2], ()),
        (Specific(frozenset()), [1, 2], ()),
        (Specific(frozenset({0})), [0, 1], (0,)),
    ],
)
def test_choose(policy: VersionPolicy, available: list[int], aspired: tuple[int, ...]) -> None:
    assert choose(policy, available) == aspired


@pytest.mark.parametrize(
    ("json_object", "policy"),
    [
        ({"all": {}}, All()),
        ({"specific": {"versions": [1, 3]}}, Specific(frozenset({1, 3}))),
        ({"latest": {"num_versions": 2}}, Latest(2)),
        ({"latest": {}}, Latest(1)),
        ({"latest": {"num_versions": 2}, "specific": {"versions": [1]}}, Specific(frozenset({1}))),
        ({"latest": {"num_versions": 2}, "specific": {"versions": [1]}, "all": {}}, All()),
        ({"latest": {"num_versions": 2}, "all": {}}, All()),
    ],
)
def test_parse(json_object: object, policy: VersionPolicy) -> None:
    assert parse_policy(json_object) == policy


@pytest.mark.parametrize(
    ("json_object", "reason"),
    [
        ({}, 'Expected one of "all", "specific" or "latest".'),
        ([], "The policy must be a JSON object, not []."),
        (None, "The policy must be a JSON object, not null."),
        ("all", 'The policy must be a JSON object, not "all".'),
        ({"lates": {}}, 'Unknown key "lates" in the policy; expected "all", "specific", "latest".'),
        ({"all": {}, "lates": {}}, 'Unknown key "lates" in the policy; expected "all", "specific", "latest".'),
        ({"all": True}, '"all" must be a JSON object, not true.'),
        ({"all": {"num_versions": 1}}, 'Unknown key "num_versions" in "all"; expected nothing inside.'),
        ({"specific": {}}, '"specific" needs "versions", such as {"specific": {"versions": [1, 3]}}.'),
        ({"specific": [1]}, '"specific" must be a JSON object, not [1].'),
        ({"specific": {"versions": []}}, '"versions" must name at least one version, such as [1, 3].'),
        ({"specific": {"versions": 1}}, '"versions" must be a list, such as [1, 3], not 1.'),
        ({"specific": {"versions": ["1"]}}, 'A version must be a whole number, not "1".'),
        ({"specific": {"versions": [True]}}, "A version must be a whole number, not true."),
        ({"specific": {"versions": [1.5]}}, "A version must be a whole number, not 1.5."),
        ({"latest": 2}, '"latest" must be a JSON object, not 2.'),
        ({"latest": {"num_version": 2}}, 'Unknown key "num_version" in "latest"; expected "num_versions".'),
        ({"latest": {"num_versions": 0}}, '"num_versions" must be 1 or more, not 0.'),
        ({"latest": {"num_versions": -1}}, '"num_versions" must be 1 or more, not -1.'),
        ({"latest": {"num_versions": "2"}}, '"num_versions" must be a whole number, not "2".'),
        ({"latest": {"num_versions": True}}, '"num_versions" must be a whole number, not true.'),
        ({"latest": {"num_versions": None}}, '"num_versions" must be a whole number, not null.'),
    ],
)
def test_parse_refuses(json_object: object, reason: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_policy(json_object)
    assert refused.value.code is Code.INVALID_ARGUMENT
    assert refused.value.message.startswith("ModelVersionPolicy ")
    assert refused.value.message.endswith(f" is not valid. {reason}")


def test_parse_repeats_what_was_given() -> None:
    with pytest.raises(ConfigError, match=r'^ModelVersionPolicy \{"newest": \{\}\} is not valid\. '):
        parse_policy({"newest": {}})


@pytest.mark.parametrize("number", [0, -1])
def test_latest_cannot_be_made_without_versions(number: int) -> None:
    with pytest.raises(ValueError, match="must be 1 or more"):
        Latest(number)
