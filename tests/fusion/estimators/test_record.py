"""The record of a saved model is strict."""

import json

import pytest
from pydantic import ValidationError

from fusion.estimators import record

HELD = record.Held(name="a@0.5", depth=0.5, origin="0" * 64, identity="1" * 64, card=None, stored=[])
MODEL = record.Model(
    format=record.FORMAT,
    parameters={"head": "concat"},
    encoders=[HELD],
    classes=["a", "b"],
    dtype="<U1",
    multilabel=False,
    trained=3,
    seconds=0.5,
    history=[],
    seen=[],
    solved=True,
    head=record.File(name="head-0.safetensors", sha256="2" * 64),
    tensors=None,
)


def test_what_is_written_is_read(tmp_path):
    (tmp_path / "model.json").write_text(record.dump(MODEL))
    assert record.read(tmp_path / "model.json") == MODEL


def test_every_changed_value_is_noticed(tmp_path):
    whole = json.loads(record.dump(MODEL))
    for key in whole:
        (tmp_path / "model.json").write_text(json.dumps({**whole, key: "another"}))
        with pytest.raises(ValueError, match=r"its sha256 is another|format 'another', not"):
            record.read(tmp_path / "model.json")


@pytest.mark.parametrize(
    "change", [{"depth": 1.5}, {"depth": 0.0}, {"origin": "x"}, {"card": []}, {"stored": "a"}, {"more": 1}]
)
def test_an_encoder_of_another_form_is_refused(change):
    with pytest.raises(ValidationError):
        record.Held(**{**HELD.model_dump(), **change})


@pytest.mark.parametrize("name", ["../x.safetensors", "/etc/x.safetensors", "x.pkl", "", "a/b.safetensors"])
def test_a_file_lies_in_the_folder_and_holds_tensors(name):
    with pytest.raises(ValidationError):
        record.File(name=name, sha256="0" * 64)
