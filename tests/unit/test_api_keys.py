"""The file of API keys: what it may say, what is said of mistakes, and when it is read again."""

import hashlib
import logging
from pathlib import Path

import pytest

from ovms.access.key_file import KeyFile
from ovms.access.keys import LARGEST_FILE, ApiKey, Scope, digest_of, parse_keys, read_keys
from ovms.errors import ConfigError

KEY = "q3vUVa0kLWb3Z9Yx"
OTHER = "Zx9-_~!@#$%^&*()+="
HASHED = "sha256:" + hashlib.sha256(OTHER.encode()).hexdigest()


def parse(*lines: str) -> tuple[ApiKey, ...]:
    return parse_keys("keys", "\n".join(lines).encode())


def test_keys() -> None:
    one, two = parse(
        "# a comment", "", f"\tcamera  predict\t{KEY} ", f"deploy admin,metrics,predict {HASHED}", "  # end"
    )
    assert one == ApiKey("camera", Scope.PREDICT, hashlib.sha256(KEY.encode()).digest())
    assert two == ApiKey("deploy", Scope.ADMIN | Scope.METRICS | Scope.PREDICT, digest_of(OTHER))


def test_what_windows_writes() -> None:
    assert parse_keys("keys", b"\xef\xbb\xbf" + f"a predict {KEY}\r\n\r\n".encode()) == parse(f"a predict {KEY}")


def test_hashes_in_capitals() -> None:
    assert parse(f"a admin {HASHED[:7]}{HASHED[7:].upper()}")[0].digest == digest_of(OTHER)


@pytest.mark.parametrize("key", ["x" * 16, "x" * 512, "~!@#$%^&*()_+{}|:<>?"])
def test_keys_of_every_length(key: str) -> None:
    assert parse(f"a predict {key}")[0].digest == digest_of(key)


THIRD = (
    "the third word: expected a key of 16 to 512 visible characters of ASCII, or sha256: and the SHA-256 of one in "
    "hexadecimal"
)
FIRST = "the first word: expected a name of up to 64 letters, digits, dots, dashes and underscores"
SECOND = "the second word: expected scopes with commas between, out of predict, admin, metrics"


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (KEY, "expected NAME SCOPES KEY with spaces between, got 1 words"),
        (f"a {KEY}", "expected NAME SCOPES KEY with spaces between, got 2 words"),
        (f"a predict, admin {KEY}", "expected NAME SCOPES KEY with spaces between, got 4 words"),
        (f"{OTHER} predict {KEY}", FIRST),
        (f"{'a' * 65} predict {KEY}", FIRST),
        (f"a {KEY} predict", SECOND),
        (f"a predict,,admin {KEY}", SECOND),
        (f"a Predict {KEY}", SECOND),
        (f"a predict {KEY[:15]}", THIRD),
        (f"a predict {'x' * 513}", THIRD),
        (f"a predict {KEY}ä", THIRD),
        (f"a predict sha256:{KEY}", "the third word: expected 64 hexadecimal digits behind sha256:"),
        (f"a predict {HASHED}0", "the third word: expected 64 hexadecimal digits behind sha256:"),
        (f"first predict {KEY}x", "expected another name than in line 2"),
        (f"second predict {KEY}", "expected another key than in line 2"),
        (f"second predict sha256:{digest_of(KEY).hex()}", "expected another key than in line 2"),
    ],
)
def test_mistakes_are_told_without_a_word_of_the_line(line: str, error: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse("# keys", f"first predict {KEY}", "", line)
    assert raised.value.message == f"keys:4: {error}"
    assert KEY not in repr(raised.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    with pytest.raises(ConfigError, match=f"--api_keys_file: {path}: cannot be read: No such file or directory"):
        read_keys(str(path))
    with pytest.raises(ConfigError, match=f"--api_keys_file: {tmp_path}: cannot be read: Is a directory"):
        read_keys(str(tmp_path))
    path.write_bytes(b"# \xff\n")
    with pytest.raises(ConfigError, match=f"{path}:1: expected UTF-8"):
        read_keys(str(path))
    path.write_text("# nobody\n")
    with pytest.raises(ConfigError, match=f"{path}: expected at least one line NAME SCOPES KEY"):
        read_keys(str(path))
    path.write_bytes(b"#" * (LARGEST_FILE + 1))
    with pytest.raises(ConfigError, match=f"expected at most {LARGEST_FILE} bytes"):
        read_keys(str(path))


def test_a_key_does_not_show_itself() -> None:
    assert digest_of(KEY).hex() not in repr(parse(f"a predict {KEY}")) + str(parse(f"a predict {KEY}"))


class Watched:
    """A file of keys, and those that are in force."""

    def __init__(self, path: Path, caplog: pytest.LogCaptureFixture) -> None:
        self.path, self.caplog = path, caplog
        caplog.set_level(logging.INFO, "ovms.access")
        self.write(f"a predict {KEY}")
        self.file = KeyFile(str(path))
        self.calls: list[list[str]] = []
        self.file.connect(lambda keys: self.calls.append([key.name for key in keys]))

    def write(self, text: str) -> None:
        self.path.touch(0o600)
        self.path.write_text(text + "\n")

    def look(self) -> list[str]:
        """What a look has logged."""
        self.caplog.clear()
        self.file.look()
        return [record.getMessage() for record in self.caplog.records]


@pytest.fixture
def watched(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Watched:
    return Watched(tmp_path / "keys", caplog)


def test_changes_are_taken_over(watched: Watched) -> None:
    assert watched.calls == [["a"]]
    assert watched.look() == []
    watched.write(f"a admin {KEY}\nb predict {HASHED}")
    assert watched.look() == ["API keys: ['a', 'b'] may call (added ['b'], changed ['a'], removed [])"]
    assert watched.look() == []
    watched.write(f"b predict {HASHED}")
    assert watched.look() == ["API keys: ['b'] may call (added [], changed [], removed ['a'])"]
    assert watched.calls == [["a"], ["a", "b"], ["b"]]


def test_a_broken_file_is_told_once_and_changes_nothing(watched: Watched) -> None:
    kept = "The changed API keys are not used, those of before stay: "
    watched.write(f"a {KEY}")
    assert watched.look() == [f"{kept}{watched.path}:1: expected NAME SCOPES KEY with spaces between, got 2 words"]
    assert watched.look() == []
    watched.path.unlink()
    gone = f"{kept}--api_keys_file: {watched.path}: cannot be read: No such file or directory"
    assert watched.look() == [gone]
    assert watched.look() == []
    watched.write("b")
    assert len(watched.look()) == 1
    assert watched.calls == [["a"]]
    watched.write(f"b predict {HASHED}")
    watched.look()
    assert watched.calls == [["a"], ["b"]]


def test_a_good_file_again_after_a_broken_one(watched: Watched) -> None:
    watched.write("b")
    watched.look()
    watched.write(f"a predict {KEY}")
    assert watched.look() == ["API keys: ['a'] may call (added [], changed [], removed [])"]


def test_what_others_may_read_is_warned_about(watched: Watched) -> None:
    watched.path.chmod(0o640)
    assert watched.look() == []
    watched.path.chmod(0o644)
    warning = f"{watched.path} can be read by every user of this machine; expected a mode such as 0600"
    assert watched.look() == [warning]
    assert watched.look() == []
    watched.caplog.clear()
    KeyFile(str(watched.path))
    assert warning in watched.caplog.text
    watched.path.chmod(0o602)
    assert watched.look() == [warning.replace("can be read", "can be written")]
