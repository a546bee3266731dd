import numpy as np
import pytest
import timm.data
import torch
from PIL import Image

from zoo.images.preprocess import Preprocess
from zoo.registry import cards
from zoo.upkeep import publishing


@pytest.fixture
def record(tiny):
    return cards.read(tiny)


@pytest.fixture
def grey(record):
    return Preprocess(record)


@pytest.fixture
def colour(record):
    pixels = cards.Input(channels=3, size=32, mean=[0.1, 0.2, 0.3], std=[0.5, 0.6, 0.7])
    return Preprocess(record.model_copy(update={"input": pixels}))


def changed(record, **changes):
    return Preprocess(record.model_copy(update={"input": record.input.model_copy(update=changes)}))


IMAGE = np.arange(32 * 32, dtype=np.uint8).reshape(32, 32)


def test_one_image_in_every_form_gives_the_same_tensor(grey, tmp_path):
    for suffix in ("png", "tif"):
        Image.fromarray(IMAGE).save(tmp_path / f"image.{suffix}")
    Image.fromarray(IMAGE.astype(np.uint16) * 257).save(tmp_path / "sixteen.png")
    expected = (torch.from_numpy(IMAGE.copy()).float()[None, None] / 255 - 0.5) / 0.25
    forms = [
        IMAGE[None],
        IMAGE[None, ..., None],
        [IMAGE],
        [IMAGE[..., None]],
        IMAGE[None].astype(np.float32) / 255,
        IMAGE[None].astype(np.uint16) * 257,
        Image.fromarray(IMAGE),
        [Image.fromarray(IMAGE)],
        tmp_path / "image.png",
        [str(tmp_path / "image.tif")],
        tmp_path / "sixteen.png",
    ]
    for form in forms:
        torch.testing.assert_close(grey(form), expected, rtol=0, atol=1e-5)


def test_mixed_sequences_keep_their_order(grey):
    out = grey([IMAGE, Image.fromarray(255 - IMAGE)])
    torch.testing.assert_close(out[0], -out[1], rtol=0, atol=1e-5)


def test_grey_is_repeated_where_the_card_wants_three_channels(colour):
    out = colour([IMAGE])
    back = [out[0, c] * s + m for c, (m, s) in enumerate([(0.1, 0.5), (0.2, 0.6), (0.3, 0.7)])]
    torch.testing.assert_close(back[0], back[1])
    torch.testing.assert_close(back[0], torch.from_numpy(IMAGE.copy()) / 255)


def test_colour_becomes_luminance_where_the_card_wants_one_channel(grey):
    red = np.zeros((1, 32, 32, 3), dtype=np.uint8)
    red[..., 0] = 255
    torch.testing.assert_close(grey(red), torch.full((1, 1, 32, 32), (0.299 - 0.5) / 0.25))


def test_size_range_and_crop(record):
    wide = np.zeros((1, 40, 80), dtype=np.uint8)
    wide[:, :, 30:50] = 255
    squashed = changed(record)(wide)
    assert squashed.shape == (1, 1, 32, 32)
    assert squashed.min() < -1.9
    cropped = changed(record, resize="crop", crop_pct=0.8)(wide)  # 40 x 80, the middle 32 x 32
    assert cropped.shape == (1, 1, 32, 32)
    assert cropped[0, 0, :, 10:20].min() > 1.9
    signed = changed(record, range=[-1024.0, 1024.0], mean=[0.0], std=[1.0])(wide)
    assert (signed.min(), signed.max()) == (-1024, 1024)


def test_a_window_maps_the_modalitys_unit(record):
    hounsfield = np.full((1, 32, 32), -1000.0)
    hounsfield[0, 0, 0], hounsfield[0, 0, 1] = 40.0, 3000.0
    ct = changed(record, window=[-160.0, 240.0], mean=[0.0], std=[1.0])
    assert ct(hounsfield)[0, 0, 0, :3].tolist() == [0.5, 1.0, 0.0]
    torch.testing.assert_close(ct([IMAGE])[0, 0], torch.from_numpy(IMAGE.copy()) / 255)  # a picture has no unit
    hounsfield[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"float images must lie in \[0, 1\] \(got nan to nan\)"):
        ct(hounsfield)


@pytest.mark.parametrize(("shape", "inside"), [((40, 80), (16, 32)), ((80, 40), (32, 16)), ((3, 300), (1, 32))])
def test_pad_keeps_the_aspect_ratio_and_fills_right_and_bottom(record, shape, inside):
    out = changed(record, resize="pad", mean=[0.0], std=[1.0])([np.full(shape, 255, dtype=np.uint8)])
    expected = torch.zeros(1, 1, 32, 32)
    expected[:, :, : inside[0], : inside[1]] = 1
    torch.testing.assert_close(out, expected)


def test_pad_shrinks_the_whole_image(record):
    wide = Image.fromarray(np.repeat(IMAGE, 2, axis=1))  # (32, 64) -> (16, 32)
    out = changed(record, resize="pad", mean=[0.0], std=[1.0])([wide])
    expected = np.asarray(wide.resize((32, 16), Image.Resampling.BICUBIC), dtype=np.float32) / 255
    torch.testing.assert_close(out[0, 0, :16], torch.from_numpy(expected), rtol=0, atol=3 / 255)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (IMAGE, ValueError, r"an array of images must be \(N, H, W\)"),
        (np.zeros((1, 2, 3, 4, 5)), ValueError, r"an array of images must be \(N, H, W\)"),
        (np.zeros((1, 0, 32), np.uint8), ValueError, "not empty"),
        (np.zeros((1, 32, 32, 4), np.uint8), ValueError, r"an image must be \(H, W\) or \(H, W, 1 or 3\)"),
        (np.full((1, 32, 32), 255.0), ValueError, r"float images must lie in \[0, 1\] \(got 255 to 255\)"),
        (np.full((1, 32, 32), np.nan), ValueError, r"float images must lie in \[0, 1\]"),
        (np.full((1, 32, 32), -0.1), ValueError, r"float images must lie in \[0, 1\]"),
        (np.zeros((1, 32, 32), np.int64), TypeError, "images must be uint8, uint16 or float"),
        ([torch.zeros(32, 32)], TypeError, "an image must be a path, PIL image or array"),
        (3, TypeError, "images must be paths, PIL images or arrays"),
        (
            Image.fromarray(np.zeros((4, 4), np.float32)),
            TypeError,
            r"must have 8 or 16 unsigned bits a channel \(got mode 'F'",
        ),
        ("no-such-file.png", ValueError, r"image must be a readable file \(got 'no-such-file.png': No such"),
    ],
)
def test_bad_images_are_refused(grey, images, error, message):
    with pytest.raises(error, match=message):
        grey(images)


def test_a_corrupt_file_is_named(grey, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(ValueError, match=r"readable PNG.*broken\.png.*Replace it"):
        grey([tmp_path / "broken.png"])


@pytest.mark.parametrize("key", ["mean", "std"])
def test_unknown_statistics_are_refused(record, key):
    with pytest.raises(ValueError) as caught:
        changed(record, **{key: None})([IMAGE])
    assert str(caught.value) == (
        "tiny-test: mean and std must be known (got None). Pass zoo.load('tiny-test', mean=[...], std=[...])."
    )


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
def test_unknown_interpolation_is_refused_where_it_is_needed(record, grey, resize):
    unknown = changed(record, interpolation=None, resize=resize)
    assert (unknown([IMAGE]) == grey([IMAGE])).all()
    with pytest.raises(ValueError) as caught:
        unknown([IMAGE, IMAGE[:16]])
    assert str(caught.value) == (
        "tiny-test: interpolation must be known (got None). "
        "Pass zoo.load('tiny-test', interpolation='bilinear') or whichever it was trained with."
    )


def test_the_rule_is_told_in_words(record):
    assert changed(record).rule == (
        "pictures, integer arrays and colour DICOM: value / type maximum; pictures turned as their EXIF says, what "
        "is transparent on white, colour profiles left out; grey DICOM: rescale (of the frame, else of the file, else "
        "real world values), the file's own VOI LUT or window, else the range of its bits, MONOCHROME1 inverted, "
        "padding 0, overlays left out; float arrays: as they are, in [0, 1]. "
        "Then resized to 32 by squash, bicubic, scaled to [0.0, 1.0], (x - [0.5]) / [0.25]."
    )
    assert changed(record, window=[-160.0, 240.0], resize="crop", crop_pct=0.9, interpolation=None).rule == (
        "pictures, integer arrays and colour DICOM: value / type maximum; pictures turned as their EXIF says, what "
        "is transparent on white, colour profiles left out; grey DICOM: rescale (of the frame, else of the file, else "
        "real world values), window [-160.0, 240.0], MONOCHROME1 inverted, padding 0, overlays left out; NIfTI (axes "
        "as stored) and float arrays: window [-160.0, 240.0]. "
        "Then resized to 32 by crop of 0.9 (shorter side 35), interpolation unknown, scaled to [0.0, 1.0], "
        "(x - [0.5]) / [0.25]."
    )


@pytest.mark.parametrize("none", [[], (), np.zeros((0, 32, 32), np.uint8), np.array([]), np.array([], dtype=object)])
def test_none_is_a_batch_of_none(grey, colour, none):
    assert grey(none).shape == (0, 1, 32, 32)
    assert colour(none).shape == (0, 3, 32, 32)


def test_one_is_a_batch_of_one_and_arrays_of_paths_are_lists(grey, tmp_path):
    folder = tmp_path / ("a_long_folder_name_of_one_patient_" * 3)
    folder.mkdir()
    path = folder / "scan.png"
    Image.fromarray(IMAGE).save(path)
    expected = grey([IMAGE])
    forms = [
        path,
        str(path),
        Image.open(path),
        np.array([str(path)]),
        np.array([path], dtype=object),
        (path,),
        iter([path]),
    ]
    forms += [IMAGE[None].astype(">u2") * 257, IMAGE[None, ..., None, None], [IMAGE[..., None, None]]]
    for form in forms:
        torch.testing.assert_close(grey(form), expected, rtol=0, atol=1e-5)


def test_the_limit_is_an_argument(grey, tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    with pytest.raises(
        ValueError, match=r"small enough .*32 x 32 pixels\)\. .* pass limit=1024 to encoder\.preprocess"
    ):
        grey(tmp_path / "a.png", limit=1023)
    assert grey(tmp_path / "a.png", limit=1024).shape == (1, 1, 32, 32)


CARDS = {card.name: card for card in map(cards.find, cards.names())}
OF_TIMM = [name for name, card in CARDS.items() if card.weights.layout == "timm" and card.input.mean]
SIZES = [(231, 347), (61, 97), (3, 5)]


def timms(card, channels=None):
    """timm's own transform for evaluation, by the config.json that the card gives; without one, before the values."""
    pixels = publishing.pixels(card)
    if channels:
        pixels |= {"input_size": (channels, *pixels["input_size"][1:]), "mean": (0,) * channels, "std": (1,) * channels}
    return timm.data.create_transform(**timm.data.resolve_data_config({}, pretrained_cfg=pixels), is_training=False)


def picture(sides, colour):
    return np.random.default_rng(sides).integers(0, 256, (*sides, 3) if colour else sides, dtype=np.uint8)


def test_cards_of_timms_layout_crop_in_every_way_there_is():
    assert len(OF_TIMM) >= 20
    crops = {CARDS[name].input.crop_pct for name in OF_TIMM if CARDS[name].input.resize == "crop"}
    assert {0.875, 0.95} <= crops
    assert {"squash", "crop"} == {CARDS[name].input.resize for name in OF_TIMM}


@pytest.mark.parametrize("name", OF_TIMM)
@pytest.mark.parametrize("sides", SIZES, ids=str)
def test_eight_bits_become_what_timms_transform_makes_of_them(name, sides):
    card = CARDS[name]
    grey, colour = (Image.fromarray(picture(sides, coloured)) for coloured in (False, True))
    made = Preprocess(card)([grey, colour])
    if card.input.channels == 3:
        expected = [timms(card)(image.convert("RGB")) for image in (grey, colour)]
    else:  # luminance is ours: after the resize, and not rounded to 8 bits
        weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
        light = (timms(card, channels=3)(colour) * weights).sum(0, keepdim=True)
        expected = [timms(card)(grey), (light - card.input.mean[0]) / card.input.std[0]]
    torch.testing.assert_close(made, torch.stack(expected), rtol=0, atol=1e-5)  # a grey level is 4e-3 and more


@pytest.mark.parametrize("crop_pct", [0.1, 0.7, 0.9, 0.96])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
def test_any_crop_is_on_timms_grid_in_eight_bits_and_in_sixteen(colour, crop_pct, interpolation):
    how = colour.input.model_copy(update={"resize": "crop", "crop_pct": crop_pct, "interpolation": interpolation})
    for size, sides in ((224, (231, 347)), (33, (601, 253)), (224, (100, 100))):
        card = CARDS["mocov2-natural"].model_copy(update={"input": how.model_copy(update={"size": size})})
        pixels = picture(sides, colour=True)
        eight = Preprocess(card)([pixels])
        torch.testing.assert_close(eight[0], timms(card)(Image.fromarray(pixels)), rtol=0, atol=1e-5)
        sixteen = Preprocess(card)([pixels.astype(np.uint16) * 257])
        far = (sixteen - eight).abs() * 255 * max(how.std)  # in grey levels
        # Pillow rounds and clips between its two passes; where two pixels are as near, `nearest` may take either.
        assert far.mean() < 1.5  # another grid is tens away on such noise
