"""What an image in memory shows, whichever way it is handed over."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from fusion.evaluation import pixels, units
from tests.fusion.evaluation.test_units import pictures


def streamed(image, kind="png", cut=0):
    stream = io.BytesIO()
    image.save(stream, kind, **({"lossless": True} if kind == "webp" else {}))
    return Image.open(io.BytesIO(stream.getvalue()[: -cut or None]))


@pytest.mark.parametrize(
    "spelled",
    [
        lambda x: x[..., None],
        lambda x: x / 255,
        lambda x: (x / 255).astype(np.float32)[..., None],
        lambda x: x * np.uint16(257),
        lambda x: (x * np.uint16(257)).astype(">u2"),
        lambda x: [Image.fromarray(one) for one in x],
        lambda x: [Image.fromarray(one * np.uint16(257)) for one in x],
        lambda x: [streamed(Image.fromarray(one)) for one in x],
        lambda x: (x / 255).astype(np.float16),
        lambda x: (x / 255).astype(np.float32).astype(">f2"),
        lambda x: x.astype(np.float16) / np.float16(255),
        lambda x: x.astype(np.float16) * np.float16(1 / 255),
        lambda x: (x / 255).astype(np.longdouble),
        lambda x: x.astype(np.float64),
        lambda x: x.astype(np.float16)[..., None],
        lambda x: np.stack([x] * 3, axis=-1),
        lambda x: np.stack([x / 255] * 3, axis=-1).astype(np.float16),
        lambda x: np.stack([x * np.uint16(257)] * 3, axis=-1),
        lambda x: [Image.fromarray(one).convert("RGB") for one in x],
        lambda x: [Image.fromarray(one).convert("RGBA") for one in x],
        lambda x: [Image.fromarray(one).convert("LA") for one in x],
    ],
)
def test_equal_pixels_are_one_content_in_every_spelling(spelled):
    seen = units.digests(pictures(4))
    assert units.seen_rows(seen, spelled(pictures(4))) == [0, 1, 2, 3]
    assert units.seen_rows(seen, spelled(pictures(4, seed=1))) == []


def test_values_between_the_steps_of_8_bits_stay():
    image = pictures(1)[0]
    for other in (image / 255 + 1e-4, image * np.uint16(257) + np.uint16(1), image / 255 * np.nan, image * 2.0):
        assert units.contents([image, other], 2)[0] != units.contents([image, other], 2)[1]


@pytest.mark.parametrize("low", [-1000.0, 0.0])
def test_floats_of_equal_values_are_one_content_in_every_width(low):
    values = (np.random.default_rng(0).integers(0, 1000, (3, 6, 6)) + low).astype(np.float16)
    wide = np.random.default_rng(1).normal(size=(3, 6, 6))
    spelled = [values, values.astype(np.float32), values.astype(np.float64), values.astype(">f8")]
    assert len({tuple(units.contents(x, 3)) for x in spelled}) == 1
    assert units.contents(wide, 3) == units.contents(wide.astype(np.float32), 3)
    assert units.contents(wide.astype(np.float16), 3) == units.contents(wide.astype(np.float16).astype(float), 3)
    for other in (values + np.float16(1), wide * 1.00001, np.stack([values, values, values + np.float16(1)], axis=-1)):
        assert not set(units.contents(other, 3)) & {*units.contents(values, 3), *units.contents(wide, 3)}


def test_channels_and_alpha_that_say_something_stay():
    x = pictures(1, seed=3)[0]
    grey, rgb = Image.fromarray(x), Image.fromarray(np.stack([x, x, x[::-1]], axis=-1))
    alpha = Image.fromarray(x[::-1].copy())
    seethrough = [image.copy() for image in (grey, rgb)]
    for image in seethrough:
        image.putalpha(alpha)
    found = units.contents([grey, rgb, *seethrough, rgb.convert("RGBA")], 5)
    assert len(set(found)) == 4
    assert found[4] == found[1]


@pytest.mark.parametrize(
    "spelled",
    [
        lambda x: np.random.default_rng(0).normal(size=x.shape),
        lambda x: np.random.default_rng(0).normal(size=x.shape).astype(np.float16),
        lambda x: x.astype(np.float32),
        lambda x: np.stack([x] * 3, axis=-1),
    ],
)
def test_what_a_model_remembers_from_before_is_still_refused(spelled):
    images = spelled(pictures(3))
    before = {hashlib.sha256(units.of_pixels(image)).hexdigest()[:16] for image in images}  # as it was written
    assert not before & units.digests(images)
    assert units.seen_rows(before, images) == units.seen_rows(units.digests(images), images) == [0, 1, 2]
    assert units.seen_rows(before, [str(k) for k in range(3)]) == []


def test_a_palette_is_content():
    index = pictures(1)[0] % 4

    def painted(seed):
        image = Image.fromarray(index).convert("P")
        image.putpalette(np.random.default_rng(seed).integers(0, 256, 768).tolist())
        return image

    assert units.numbered(None, [painted(0), painted(1), painted(0), painted(0).convert("RGB")], 4).tolist() == [
        0,
        1,
        0,
        0,
    ]
    assert pixels.values(Image.new("P", (6, 6), 3)) is None
    assert pixels.values(Image.new("RGB", (6, 6), (1, 2, 3))) is None


@pytest.mark.parametrize("kind", ["png", "webp", "tiff", "gif"])
def test_looking_decodes_nobodys_image(kind):
    image = streamed(Image.fromarray(pictures(1)[0]), kind)
    assert units.contents([image, image], 2)[0] is not None
    assert pixels._is_lazy(image)
    first = units.contents([image], 1)
    image.load()
    assert not pixels._is_lazy(image)
    assert units.contents([image], 1) == first


def test_a_damaged_image_stays_an_error_after_looking():
    image = streamed(Image.fromarray(pictures(1)[0].repeat(20, 0)), cut=60)
    assert units.contents([image], 1) == [None]
    with pytest.raises((OSError, SyntaxError)):
        image.load()


def test_pages_and_drafts_are_what_they_show(tmp_path):
    first, second = (Image.fromarray(image) for image in pictures(2))
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    page = Image.open(tmp_path / "a.tif")
    page.seek(1)
    assert units.contents([page], 1) == units.contents([second], 1)
    assert pixels.source(page) is None
    Image.fromarray(pictures(1)[0].repeat(20, 0).repeat(20, 1)).save(tmp_path / "a.jpg")
    small = Image.open(tmp_path / "a.jpg")
    small.draft("L", (60, 60))
    assert pixels.values(small).shape == small.size[::-1] == (60, 60)
