"""Digests: the known values of known bytes, and a `digests.json` that says what it must or is refused."""

import json

import pytest
from pydantic import ValidationError

from zoo.fetching import digests
from zoo.fetching.digests import Digests

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
LISTED = {"file": ABC, "size": 3, "header": "0" * 64, "tensors": {"a": "1" * 64}}


def test_known_bytes_have_their_known_digests(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert digests.sha256(b"abc") == digests.sha256_file(path) == ABC


def test_many_pieces_keep_their_names_and_order():
    pieces = {f"piece{i}": bytes([i]) * i for i in range(100)}
    found = digests.sha256_all(pieces)
    assert list(found) == list(pieces)
    assert all(found[name] == digests.sha256(data) for name, data in pieces.items())
    assert digests.sha256_all({}) == {}


def test_what_is_written_is_read_again():
    listed = Digests(**LISTED, source="2" * 64, golden={"0.5": [0.1, -2.5]})
    data = digests.dump(listed)
    assert data.endswith(b"}\n")
    assert json.loads(data)["golden"] == {"0.5": [0.1, -2.5]}
    assert digests.parse(data) == listed
    assert digests.dump(digests.parse(data)) == data, "byte for byte, for a card pins its sha256"


def test_source_and_golden_may_be_left_out():
    listed = digests.parse(json.dumps(LISTED).encode())
    assert (listed.source, listed.golden) == (None, {})


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "Invalid JSON"),
        (b"<html>", "Invalid JSON"),
        (b"[]", "should be an object"),
        (json.dumps({"header": 1}).encode(), "Field required"),
        (json.dumps(LISTED | {"more": 1}).encode(), "Extra inputs are not permitted"),
        (json.dumps(LISTED | {"file": ABC.upper()}).encode(), "should match pattern"),
        (json.dumps(LISTED | {"file": ABC[:-1]}).encode(), "should match pattern"),
        (json.dumps(LISTED | {"size": "3"}).encode(), "should be a valid integer"),
        (json.dumps(LISTED | {"tensors": {"a": "x"}}).encode(), "should match pattern"),
    ],
)
def test_what_is_no_digests_json_is_refused(data, cause):
    with pytest.raises(ValueError, match=rf"^digests must be a digests\.json \(.*{cause}.*\)\. Write it again\.$"):
        digests.parse(data)


def test_digests_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        Digests(**LISTED).size = 4
