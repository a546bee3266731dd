"""The header is the first thing an unknown file says: whatever is wrong with it must be refused by its cause."""

import json
import struct

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from zoo.fetching import header as header_


def made(entries):
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text


def tensor(start, stop, shape=None, dtype="F32"):
    return {"dtype": dtype, "shape": [(stop - start) // 4] if shape is None else shape, "data_offsets": [start, stop]}


@pytest.fixture
def file(tmp_path):
    state = {
        "a": torch.arange(6.0).reshape(2, 3),
        "b": torch.tensor(3),
        "c": torch.zeros(0, 4),
        "d": torch.ones(3, dtype=torch.bfloat16),
        "e": torch.tensor([True, False]),
    }
    save_file(state, tmp_path / "x.safetensors", metadata={"format": "pt"})
    return tmp_path / "x.safetensors"


def test_spans_are_those_of_safetensors(file):
    header = header_.read(file)
    assert header.size == file.stat().st_size
    with safe_open(file, framework="pt") as stored:
        assert set(header.spans) == set(stored.keys())
        for name, span in header.spans.items():
            value = stored.get_tensor(name)
            assert span.shape == tuple(value.shape)
            assert header_.read_spans(file, [span]) == [value.flatten().view(torch.uint8).numpy().tobytes()]


def test_a_file_without_tensors_is_a_file(tmp_path):
    save_file({}, tmp_path / "none.safetensors")
    assert header_.read(tmp_path / "none.safetensors").spans == {}


@pytest.mark.parametrize("cut", [0, 5, 8, 40, -1])
def test_a_truncated_file(file, cut):
    data = file.read_bytes()
    file.write_bytes(data[:cut])
    with pytest.raises(ValueError, match=rf"it is truncated at {len(data[:cut])} bytes"):
        header_.read(file)


@pytest.mark.parametrize("length", [ord("<"), 256 + ord("<"), 0x4B50, 0x180])
def test_a_length_that_looks_like_a_letter_is_a_length(length):
    text = b'{"__metadata__": {"x": "%s"}}'
    raw = made(text % (b"x" * (length - len(text) + 2)))
    assert header_.parse(raw).size == 8 + length


def test_a_file_with_something_behind_its_tensors(file):
    file.write_bytes(file.read_bytes() + b"more")
    with pytest.raises(ValueError, match="it is longer than its header says"):
        header_.read(file)


@pytest.mark.parametrize(
    ("first", "cause"),
    [
        (b"<!doctype html>", "it is an HTML page"),
        (b"\n\n <html>", "it is an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1", "it is a git-lfs pointer"),
        (b"PK\x03\x04rest of it", "it is a pickled checkpoint"),
        (b"\x80\x02}q\x00.rest", "it is a pickled checkpoint"),
        (struct.pack("<Q", 200_000_000), "its header claims 200000000 bytes, more than 100000000 allowed"),
        (b"\xff" * 8, "its header claims"),
    ],
)
def test_the_first_bytes_say_what_else_it_is(first, cause):
    with pytest.raises(ValueError, match=cause):
        header_.stop(first)


HUGE = 1 << 60


@pytest.mark.parametrize(
    ("entries", "cause"),
    [
        (b'{"a": 1', "its header is not JSON"),
        (b"\xff\xfe{}", "its header is not JSON"),
        (b"[" * 100_000, "its header is not JSON"),
        (b"[]", "its header is not a JSON object"),
        (b'{"a": 1, "a": 2}', "its header names a tensor twice"),
        ({"a": 1}, "its header does not describe 'a' as a tensor"),
        ({"a": {"dtype": "F32", "shape": 3, "data_offsets": [0, 4]}}, "does not describe 'a'"),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}, "does not describe 'a'"),
        ({"a": tensor(0, 4, dtype="F8")}, "'a' with an unknown type"),
        ({"a": tensor(0, 4, dtype=["F32"])}, "'a' with an unknown type"),
        ({"a": tensor(0, 4, shape=[-1])}, "impossible number"),
        ({"a": tensor(0, 4, shape=[True])}, "impossible number"),
        ({"a": tensor(0, 4, shape=[1.0])}, "impossible number"),
        ({"a": tensor(0, 4 * HUGE, shape=[HUGE])}, "impossible number"),
        ({"a": tensor(0, 4, shape=[2])}, "a size that is not its shape's"),
        ({"a": tensor(4, 0, shape=[1])}, "a size that is not its shape's"),
        ({"a": tensor(0, 8), "b": tensor(4, 12)}, "overlap or leave a hole at 'b'"),
        ({"a": tensor(0, 8), "b": tensor(0, 8)}, "overlap or leave a hole at 'b'"),
        ({"a": tensor(0, 4), "b": tensor(8, 12)}, "overlap or leave a hole at 'b'"),
        ({"a": tensor(4, 8)}, "overlap or leave a hole at 'a'"),
    ],
)
def test_a_lying_header_is_refused(entries, cause):
    with pytest.raises(ValueError, match=cause):
        header_.parse(made(entries))


def test_offsets_beyond_the_file_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(made({"a": tensor(0, 4000)}) + b"1234")
    with pytest.raises(ValueError, match="truncated"):
        header_.read(path)


def test_thousands_of_dimensions_are_refused_at_once():
    with pytest.raises(ValueError, match="impossible number"):
        header_.parse(made({"a": tensor(0, 4, shape=[1] * 100_000)}))


def test_another_encoding_than_utf8_is_refused():
    text = json.dumps({"a": tensor(0, 4)}).encode("utf-16")
    with pytest.raises(ValueError, match="its header is not JSON"):
        header_.parse(made(text))


def test_types_that_no_encoder_has_are_read_all_the_same():
    spans = header_.parse(made({"a": tensor(0, 4, shape=[4], dtype="F8_E4M3"), "b": tensor(4, 8, dtype="U32")})).spans
    assert [span.dtype for span in spans.values()] == ["F8_E4M3", "U32"]
