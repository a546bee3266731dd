"""Files that were damaged anywhere: who reads them gives an answer or one of our errors. Pictures: tests/zoo/images."""

import json
import warnings

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from fusion import FusionClassifier, brain_regions
from fusion.data import files
from fusion.study import config
from fusion.study import folder as study
from tests.conftest import ROOT, TINY
from tests.zoo.images.mutated import damaged
from zoo.fetching import header
from zoo.pretrain import recipe
from zoo.registry import cards
from zoo.upkeep import manifest

TRAIN = brain_regions("train", labels=12)
IMAGES = brain_regions("train", labels=60).images


def a_card(folder):
    (folder / "tiny-test.md").write_text(TINY)
    return folder / "tiny-test.md", cards.read


def a_header(folder):
    import torch

    save_file({"layer.weight": torch.ones(3, 4), "half": torch.ones(5).half()}, folder / "x.safetensors")
    return folder / "x.safetensors", header.read


def a_table(folder):
    rows = [f"image{i}.png,{i % 2},p{i // 2},train" for i in range(40)]
    for i in range(40):
        Image.fromarray(IMAGES[i]).save(folder / f"image{i}.png")
    (folder / "data.csv").write_text("\n".join(["path,label,patient,split", *rows]) + "\n")
    return folder / "data.csv", lambda path: files.read(path, split="train")


def an_archive(folder):
    parts = {f"{part}_images": TRAIN.images for part in ("train", "val", "test")}
    parts |= {f"{part}_labels": np.arange(12)[:, None] % 2 for part in ("train", "val", "test")}
    np.savez(folder / "data.npz", **parts)
    return folder / "data.npz", lambda path: files.read(path, split="train")


def an_answer(folder):
    (folder / "cell.npz").write_bytes(study.packed({"probabilities": np.ones((6, 3)), "classes": np.arange(3)}))
    return folder / "cell.npz", lambda path: study.arrays(path, "probabilities", "classes")


def a_config(folder):
    text = (config.FOLDER / "s1-strategies.yaml").read_text()
    (folder / "study.yaml").write_text(text)
    return folder / "study.yaml", config.read


def a_recipe(folder):
    (folder / "recipe.yaml").write_text((ROOT / "zoo/pretrain/recipes/mae-mini.yaml").read_text())
    return folder / "recipe.yaml", recipe.read


def a_manifest(folder):
    listed = {"path": "cards/tiny-test.md", "size": 7, "sha256": "a" * 64}
    entry = {"name": "tiny-test", "depth": 0.75, "files": [listed]} | dict.fromkeys(
        ["repo", "revision", "file", "sha256"]
    )
    values = {"format": 1, "sslzoo": None, "attribution": {**listed, "path": "ATTRIBUTION.md"}, "entries": [entry]}
    (folder / "manifest.json").write_text(json.dumps(values))
    return folder / "manifest.json", lambda path: manifest.read(path.parent)


def a_model(name):
    def made(folder):
        FusionClassifier(["mae-mini@0.25"], C=0.1, folds=2).fit(TRAIN.images, TRAIN.labels).save(folder / "model")
        return next((folder / "model").glob(name)), lambda path: FusionClassifier.load(path.parent)

    return made


KINDS = {
    "card": a_card,
    "header": a_header,
    "table": a_table,
    "archive": an_archive,
    "config": a_config,
    "answer": an_answer,
}
KINDS |= {
    "recipe": a_recipe,
    "manifest": a_manifest,
    "record of a model": a_model("model.json"),
    "head of a model": a_model("head-*.safetensors"),
}


@pytest.mark.parametrize("count", [20, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_read_or_refused(kind, count, tmp_path):
    path, read = KINDS[kind](tmp_path)
    whole, draw, refused = path.read_bytes(), np.random.default_rng(0), 0
    read(path)
    for _ in range(count):
        path.write_bytes(damaged(whole, draw))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read(path)
            except (ValueError, TypeError, OSError):
                refused += 1
    assert refused > count / 4
