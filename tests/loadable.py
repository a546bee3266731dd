"""Small checkpoints that `zoo.load` can load, with cards of one's own: on the loopback Hub or beside the card."""

import io

import torch
from safetensors.torch import save

from tests.conftest import TINY
from zoo.fetching import digests, opened
from zoo.networks import cutting
from zoo.registry import cards

KWARGS = {"in_chans": 1, "channels": [8, 8, 16, 16]}
REVISION = "a" * 40


def state(seed=0):
    torch.manual_seed(seed)
    return cutting.build("resnet18", KWARGS, device="cpu").state_dict()


def pickled(tensors):
    stream = io.BytesIO()
    torch.save(tensors, stream)
    return stream.getvalue()


def write_card(folder, name, weights):
    """A card with its weights line."""
    path = folder / f"{name}.md"
    path.write_text(TINY.replace("weights: {repo: null, file: tiny-test.safetensors}", f"weights: {weights}"))
    return cards.read(path)


def publish(hub, folder, name="small-test", *, seed=0, file="model.safetensors", pinned=False):
    """Serve a checkpoint as lab/NAME; its card lies in `folder`, and pins the digests if `pinned`."""
    data = save(state(seed)) if file.endswith(".safetensors") else pickled(state(seed))
    hub.serve(f"lab/{name}", REVISION, {file: data})
    more = ""
    if pinned:
        (folder / "digests").mkdir(exist_ok=True)
        (folder / "whole").write_bytes(data)
        (folder / "digests" / f"{name}.json").write_bytes(listed := digests.dump(opened.digest(folder / "whole")))
        more = f', digests: "{digests.sha256(listed)}"'
    return write_card(folder, name, f'{{repo: lab/{name}, revision: "{REVISION}", file: {file}{more}}}')


def beside(folder, name="beside-test"):
    """A checkpoint beside its card."""
    (folder / f"{name}.safetensors").write_bytes(save(state()))
    return write_card(folder, name, f"{{repo: null, file: {name}.safetensors}}")


def inside(folder):
    """The bytes of every file below a folder, by path; locks left out."""
    found = [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
