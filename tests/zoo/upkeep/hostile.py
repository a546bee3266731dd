"""Checkpoints made to harm whatever opens them, and what each is refused with."""

import argparse
import os
import pickle
import zipfile

import torch


def saved(path, value, **options):
    torch.save(value, path, **options)
    return path


class Evil:
    """Its pickle creates the file `path` in whatever opens it carelessly."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


class Foreign:
    pass


def bomb(path, **_):
    """A zip of few bytes that unpacks to many, with a pickle that names them."""
    saved(path, {"a": torch.zeros(1 << 16)})
    with zipfile.ZipFile(path) as whole:
        entries = {entry.filename: whole.read(entry) for entry in whole.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in entries.items():
            packed.writestr(name, data)


def cut(path, **options):
    data = saved(path, {"a": torch.randn(1000)}, **options).read_bytes()
    path.write_bytes(data[: len(data) // 2])


def script(path, **_):
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), path)


def value(made):
    return lambda path, **options: saved(path, made, **options)


def evil(path, **options):
    saved(path, {"a": Evil(path.parent / "touched")}, **options)


def bare(path, **_):
    path.write_bytes(pickle.dumps(Evil(path.parent / "touched"), 2))


HOSTILE = {
    "code": (evil, r"tensors only \(got posix.system, which was not run"),
    "bare pickle": (bare, "got posix.system"),
    "module": (value(torch.nn.Linear(2, 2)), r"tensors only \(got torch.nn.modules.linear.Linear"),
    "class": (value({"a": Foreign()}), "got tests.zoo.upkeep.hostile.Foreign"),
    "namespace": (value({"a": argparse.Namespace(x=1)}), "got argparse.Namespace"),
    "bomb": (bomb, r"must not unpack to more than it holds \(got 26\d{4} bytes from"),
    "view bomb": (value({"a": torch.zeros(1).expand(1 << 20, 1 << 20)}), "must not unpack to more than it holds .*'a'"),
    "many": (value({"a": {str(i): torch.zeros(0) for i in range(9)}}), "must not unpack to more than it holds .*'a.8'"),
    "truncated": (cut, r"must be a whole checkpoint of tensors \(got: (unexpected EOF|PytorchStreamReader failed)"),
    "no pickle": (lambda path, **_: path.write_bytes(b"\x80nothing"), "must be a whole checkpoint of tensors"),
    "script": (script, "TorchScript archives"),
    "sparse": (value({"a": torch.eye(3).to_sparse()}), "must hold plain tensors .*'a'"),
    "meta": (value({"a": torch.empty(3, device="meta")}), "must hold plain tensors .*'a'"),
    "empty": (value({"epoch": 3}), r"must hold tensors \(got none\)"),
    "twice": (value({"a.b": torch.zeros(1), "a": {"b": torch.zeros(1)}}), "must name each tensor once .*'a.b'"),
}
