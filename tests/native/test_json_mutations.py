"""Right bodies with a mistake made in them: refused, or read as Python's json reads what they have become."""

import json
import random
import re

import pytest

from tests.native.json_bodies import SIGNATURES, bodies
from tests.native.json_codec import RANDOM_NUMBERS, refusal, verdict
from tests.native.json_reference import expected

BODIES = [(SIGNATURES[index], body) for index, body in bodies() if b"Inf " not in body]
IDS = [f"{number}-{body[:24].decode(errors='replace')}" for number, (_, body) in enumerate(BODIES)]
BYTES = b'\x00\x1f "\\/[]{}:,.-+0179eEaINntu\x7f\x80\xc3\xff'
TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[-+.\w]+|\s+|.', re.DOTALL)
OTHERS = (
    *(b"[", b"]", b"{", b"}", b",", b":", b"0", b"-1", b"1.5", b"1e2", b"NaN", b"-Infinity", b"true", b"null", b"300"),
    *b'"" "x" "a" "b64" "inputs" "instances" "signature_name" "AAAA" [] {} [1]'.split(),
    *(b'"\\u0000"', b'"\\ud800"', b'{"b64":"AAAAAA=="}', b"[[", b"]]", b"1e400", b"-0", b"18446744073709551615"),
)


def check(signature: list[tuple[str, str, tuple[int, ...]]], body: bytes) -> bool:
    """Whether it was read; what it says is compared with the oracle in either case."""
    found, meant = verdict(signature, body), expected(signature, body)
    assert found == meant, (signature, body)
    if found is None:
        refusal(signature, body)
    return found is not None


@pytest.mark.parametrize(("signature", "body"), BODIES, ids=IDS)
def test_cut_anywhere(signature: list[tuple[str, str, tuple[int, ...]]], body: bytes) -> None:
    """Every body is whole only with its last bracket."""
    assert check(signature, body)
    whole = len(body.rstrip())
    for size in range(whole):
        assert refusal(signature, body[:size])
    assert check(signature, body[:whole])


@pytest.mark.parametrize(("signature", "body"), BODIES, ids=IDS)
def test_other_bytes(signature: list[tuple[str, str, tuple[int, ...]]], body: bytes, rng: random.Random) -> None:
    """Each byte replaced by others and left out, and one put in before it."""
    for at in range(len(body)):
        for byte in (*rng.sample(BYTES, 7), body[at] ^ 1 << rng.randrange(8)):
            check(signature, body[:at] + bytes([byte]) + body[at + 1 :])
        check(signature, body[:at] + body[at + 1 :])
        check(signature, body[:at] + rng.choice(BYTES).to_bytes(1, "big") + body[at:])


def test_other_tokens(rng: random.Random) -> None:
    """Tokens replaced, left out, doubled and swapped: texts that are mostly JSON still, and mostly mean nothing."""
    read = whole = 0
    for _ in range(RANDOM_NUMBERS // 4):
        signature, body = rng.choice(BODIES)
        tokens = TOKENS.findall(body)
        assert b"".join(tokens) == body
        for _ in range(rng.randint(1, 3)):
            at, other = rng.randrange(len(tokens)), rng.randrange(len(tokens))
            change = rng.randrange(5)
            if change == 0:
                tokens[at] = rng.choice(OTHERS)
            elif change == 1:
                tokens[at] = b""
            elif change == 2:
                tokens.insert(at, rng.choice(OTHERS))
            elif change == 3:
                tokens[at], tokens[other] = tokens[other], tokens[at]
            else:
                first, last = sorted((at, other))
                tokens[at:at] = tokens[first : last + 1]
        text = b"".join(tokens)
        read += check(signature, text)
        try:
            json.loads(text)
            whole += 1
        except ValueError:
            pass
    assert min(read, whole - read) > RANDOM_NUMBERS // 1000  # both verdicts on right JSON were tried often
