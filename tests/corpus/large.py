"""Malformed files that are too large, or not text enough, to be written down: made from the valid ones."""

import gzip
import json

from tests.corpus.read import HERE

VALID = (HERE / "valid.yaml").read_bytes()
RUN = (HERE / "run.jsonl").read_bytes()
ZEROS = b"0" * 349
_P = b"params: {p: 2}"
_GRID = b"grid: [4, 3]"
_MATRIX = b"matrix: {dtype: [float32, float64], reduction: [none, mean]}"
_TENTHS = b", ".join(b"a%d: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]" % n for n in range(10))
_HUNDRED = json.dumps(list(range(100))).encode()
_LAUGHS = [b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 10)]


def _p(value: bytes) -> bytes:
    return VALID.replace(_P, b"params: {p: " + value + b"}")


def _grid(shape: bytes) -> bytes:
    return VALID.replace(_GRID, b"grid: [" + shape + b"]")


CASES: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "1:1", "Expected 'object', got 'null'"),
    "Latin-1": (VALID.replace(b"Two rows", b"Zwei \xe4"), "31:15", "not UTF-8 at byte"),
    "UTF-16": (VALID.decode().encode("utf-16"), "1:1", "not UTF-8 at byte 0"),
    "UTF-32": (VALID.decode().encode("utf-32"), "1:1", "not UTF-8 at byte 0"),
    "a surrogate in UTF-8": (VALID.replace(b"Two", b"\xed\xa0\x80"), "31:10", "not UTF-8 at byte"),
    "an overlong slash": (VALID.replace(b"Two", b"\xc0\xaf"), "31:10", "not UTF-8 at byte"),
    "NUL": (VALID.replace(b"Two", b"T\0o"), "31:11", "control characters"),
    "NULs": (b"\0" * 100, "1:1", "control characters"),
    "DEL": (VALID.replace(b"Two", b"T\x7fo"), "31:11", "control characters"),
    "an escape sequence": (VALID.replace(b"Two", b"\x1b[2J"), "31:10", "control characters"),
    "half a character": (VALID + b"\xf0\x9f", "46:1", "not UTF-8 at byte"),
    "CRLF, wrong op": (VALID.replace(b"loss\n", b"3\n", 1).replace(b"\n", b"\r\n"), "1:1", "no ref"),
    "BOM, wrong op": (b"\xef\xbb\xbf" + VALID.replace(b"op: multi", b"op: x"), "1:", "no ref"),
    "compressed": (gzip.compress(VALID, mtime=0), "1:2", "not UTF-8 at byte 1"),
    "an executable": (b"\x7fELF\x02\x01\x01" + b"\0" * 64, "1:1", "control characters"),
    "5000 digits": (_p(b"9" * 5000), "33:17", "a number of more than 400"),
    "5000 hexadecimal digits": (_p(b"0x" + b"f" * 5000), "33:17", "a number of more than 400"),
    "300000 places": (_p(b"1" + b":59" * 300_000), "33:17", "a number of more than 400"),
    "140 places": (_p(b"1" + b":59" * 140 + b".5"), "33:17", "a number of more than 400"),
    "300 digits in a list": (_p(b"[1" + ZEROS[:300] + b"]"), "33:14", "takes one value, not a list"),
    "lists, 100000 deep": (b"[" * 100_000, "1:25", "nested deeper than 24 levels"),
    "mappings, 100000 deep": (b"{a: " * 100_000, "1:97", "nested deeper than 24 levels"),
    "block lists, 5000 deep": (b"- " * 5000 + b"\n", "1:49", "nested deeper than 24 levels"),
    "keys, 5000 deep": (b"? " * 5000 + b"\n", "1:49", "nested deeper than 24 levels"),
    "4 MB": (b"#" * 4_000_001, "1:1", "larger than 4000000 bytes"),
    "100000 values": (b"[" + b"0," * 100_001 + b"]", "1:200000", "more than 100000 values"),
    "50001 keys": (b"".join(b"k%d: 0\n" % n for n in range(50_001)), "50000:9", "more than 100000 values"),
    "billion laughs": (b"a0: &a0 [x, x, x, x]\n" + b"".join(_LAUGHS), "1:5", "anchors and aliases"),
    "quadratic": (b"a: &a " + b"x" * 100_000 + b"\nb: [" + b"*a," * 10_000 + b"]", "1:4", "anchors"),
    "5000 axes": (_grid(b"1, " * 5000 + b"1"), "39:7", "more than 32 axes"),
    "300-digit sizes": (_grid((b"1" + ZEROS[:300] + b", ") * 30 + b"1"), "39:7", "more than 16777216"),
    "low of 350 digits": (VALID.replace(b"low: -2", b"low: -1" + ZEROS), "39:7", "'low' cannot be -1000"),
    "below 10**349": (VALID.replace(b"below: 3", b"below: 1" + ZEROS), "43:7", "'below' cannot be 1000"),
    "a weight of 350 digits": (
        VALID.replace(b"[1.0, 2.0, 0.5]", b"[1" + ZEROS + b"]"), "32:56", "a number that float64",
    ),
    "10**4 points": (
        VALID.replace(_MATRIX, b"matrix: {p: %s, margin: %s}" % (_HUNDRED, _HUNDRED)), "34:5", "10000 points",
    ),
    "10**10 points": (VALID.replace(_MATRIX, b"matrix: {%s}" % _TENTHS), "34:5", "10000000000 points"),
    "pairs of 10**10 points": (
        VALID.replace(_MATRIX, b"expand: pairwise\n    matrix: {%s}" % _TENTHS), "35:5", "10000000000 points",
    ),
}  # fmt: skip

STREAMS: dict[str, tuple[bytes, str, str]] = {
    "no end": (RUN[: RUN.rfind(b'{"type":"end"')], "7:1", "the run did not finish"),
    "torn in its end": (RUN[:-30], "7:1", "not JSON"),
    "torn in its first line": (RUN[:50], "1:1", "not JSON"),
    "lines after the end": (RUN + RUN.split(b"\n")[2] + b"\n", "9:1", "the run did not finish"),
    "two streams": (RUN + RUN, "8:1", "a second run begins"),
    "empty": (b"", "1:1", "the run did not finish"),
    "UTF-16": (RUN.decode().encode("utf-16"), "1:1", "not JSON"),
    "a byte order mark": (b"\xef\xbb\xbf" + RUN, "1:1", "not JSON"),
    "Latin-1": (RUN.replace(b'"message":""', b'"message":"\xe4"'), "3:1", "not JSON"),
    "NULs": (RUN + b"\0" * 4096, "8:1", "not JSON"),
    "compressed": (gzip.compress(RUN, mtime=0), "1:1", "not JSON"),
    "lists, 100000 deep": (RUN.replace(b'"got":1.0', b'"got":' + b"[" * 100_000, 1), "3:1", "not JSON"),
    "objects, 100000 deep": (RUN.replace(b'"got":1.0', b'"got":' + b'{"a":' * 100_000, 1), "3:1", "not JSON"),
    "5000 digits": (RUN.replace(b'"compared":4', b'"compared":' + b"9" * 5000, 1), "3:1", "out of range"),
    "5 MB line": (
        RUN.replace(b'"message":""', b'"message":"' + b"x" * 5_000_000 + b'"'),
        "3:1",
        "a line long",
    ),
}
