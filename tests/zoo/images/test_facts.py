"""Facts that a DICOM file states elsewhere than at its root, or that nobody applies here."""

import numpy as np
import pytest
from pydicom.dataset import Dataset

import zoo
from tests.zoo.images.files import RAMP, WINDOW, table, write
from zoo.images import facts
from zoo.images.reading import read

CT = np.array([[0, 1024], [1064, 1264]], np.uint16)  # -1024, 0, 40, 240 HU
RESCALE = {"RescaleSlope": 1, "RescaleIntercept": -1024, "RescaleType": "HU"}
VIEW = {"WindowCenter": 40, "WindowWidth": 400}
BITS = {"BitsAllocated": 16, "BitsStored": 12}


def item(**elements):
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, [value] if isinstance(value, Dataset) else value)
    return made


def groups(rescale=RESCALE, view=VIEW):
    return item(
        **({"PixelValueTransformationSequence": item(**rescale)} if rescale else {}),
        **({"FrameVOILUTSequence": item(**view)} if view else {}),
    )


PLACES = {
    "root": {**RESCALE, **VIEW},
    "shared": {"SharedFunctionalGroupsSequence": [groups()]},
    "frame": {"PerFrameFunctionalGroupsSequence": [groups()]},
    "one each": {
        "SharedFunctionalGroupsSequence": [groups(view=None)],
        "PerFrameFunctionalGroupsSequence": [groups(rescale=None)],
    },
    "root and shared": {**RESCALE, "SharedFunctionalGroupsSequence": [groups()]},
}


@pytest.mark.parametrize("place", PLACES)
def test_rescale_and_window_are_heard_wherever_they_stand(place, tmp_path):
    path = write(tmp_path / "ct.dcm", CT, **BITS, **PLACES[place])
    np.testing.assert_allclose(read(path, WINDOW), [[0, 0.4], [0.5, 1]], atol=1e-6)
    np.testing.assert_allclose(read(path, None), [[0, 0.401], [0.501, 1]], atol=1e-3)


def test_a_frame_may_state_a_table_or_another_function(tmp_path):
    view = {
        "SharedFunctionalGroupsSequence": [
            groups(rescale=None, view={"VOILUTSequence": table(range(255, -1, -1), bits=8)})
        ]
    }
    np.testing.assert_allclose(read(write(tmp_path / "a.dcm", RAMP, **view), None), (255.0 - RAMP) / 255, atol=1e-6)
    exact = groups(rescale=None, view={"WindowCenter": 100, "WindowWidth": 50, "VOILUTFunction": "LINEAR_EXACT"})
    path = write(tmp_path / "b.dcm", RAMP, PerFrameFunctionalGroupsSequence=[exact])
    np.testing.assert_allclose(read(path, None), ((RAMP - 75.0) / 50).clip(0, 1), atol=1e-6)


def mapping(first=0, last=4095, **line):
    made = item(**line)
    made.add_new("RealWorldValueFirstValueMapped", "US", first)
    made.add_new("RealWorldValueLastValueMapped", "US", last)
    return made


LINE = {"RealWorldValueSlope": 1.0, "RealWorldValueIntercept": -1024.0}


@pytest.mark.parametrize("place", ["root", "shared", "frame"])
def test_real_world_values_are_the_unit_where_no_rescale_is_stated(place, tmp_path):
    stated = [mapping(**LINE)]
    if place != "root":
        key = {"shared": "SharedFunctionalGroupsSequence", "frame": "PerFrameFunctionalGroupsSequence"}[place]
        inner = item()
        inner.RealWorldValueMappingSequence = stated
        elements = {key: [inner]}
    else:
        elements = {"RealWorldValueMappingSequence": stated}
    path = write(tmp_path / "ct.dcm", CT, **BITS, **elements)
    np.testing.assert_allclose(read(path, WINDOW), [[0, 0.4], [0.5, 1]], atol=1e-6)
    np.testing.assert_allclose(read(path, None), CT / 4095, atol=1e-6)  # no part of the view
    path = write(tmp_path / "b.dcm", CT, **BITS, **elements, RescaleSlope=1, RescaleIntercept=-2048)
    assert read(path, WINDOW).max() == 0  # the rescale binds


CONFLICT = [groups(rescale={**RESCALE, "RescaleIntercept": 0})]
REFUSED = {
    "two rescales": ({**RESCALE, "SharedFunctionalGroupsSequence": CONFLICT}, "its RescaleIntercept must be one"),
    "two frames": (
        {"PerFrameFunctionalGroupsSequence": [groups(), CONFLICT[0]]},
        "groups must be those of one frame",
    ),
    "half a rescale": ({"RescaleIntercept": -1024}, "must state RescaleSlope and RescaleIntercept, not one"),
    "rescale and table": (
        {**RESCALE, "ModalityLUTSequence": table(range(4096), bits=12)},
        "a rescale or a modality table, not both",
    ),
    "two mappings": ({"RealWorldValueMappingSequence": [mapping(**LINE), mapping(**LINE)]}, "must be one line, not 2"),
    "a mapped table": ({"RealWorldValueMappingSequence": [mapping()]}, "must be one line"),
    "a mapped part": (
        {"RealWorldValueMappingSequence": [mapping(last=1100, **LINE)]},
        r"must lie in 0\.\.1100, not 0\.\.1264",
    ),
    "supplemental palette": (
        {"RedPaletteColorLookupTableDescriptor": [256, 0, 16]},
        "must not have a supplemental palette",
    ),
    "mixed presentation": ({"PixelPresentation": "MIXED"}, "must not have a supplemental palette"),
    "inverse": ({"PresentationLUTShape": "INVERSE"}, "PresentationLUTShape .* not INVERSE of MONOCHROME2"),
    "film": ({"PresentationLUTShape": "LIN OD"}, "not LIN OD of MONOCHROME2"),
    "dose": ({"DoseGridScaling": "0.5"}, "must not state DoseGridScaling"),
    "intensity table": (
        {"PixelIntensityRelationshipLUTSequence": table(range(4096), bits=12)},
        "must not state PixelIntensityRelationshipLUTSequence",
    ),
    "intensity of the frame": (
        {"SharedFunctionalGroupsSequence": [item(FramePixelDataPropertiesSequence=item(DoseGridScaling="2"))]},
        "must not state DoseGridScaling",
    ),
    "fractions": ({"MaximumFractionalValue": 200}, "must not state MaximumFractionalValue"),
    "samples": ({"SamplesPerPixel": 3}, "one sample a pixel, not 3"),
    "bits": ({"BitsStored": 17}, "17 stored bits must be the lowest of 16"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_applied_is_refused_by_name(case, tmp_path):
    elements, message = REFUSED[case]
    path = write(tmp_path / "a.dcm", CT, **(BITS | elements))
    with pytest.raises(ValueError, match=rf"readable DICOM \(got .*{message}"):
        read(path, WINDOW)
    assert zoo.fault(path, WINDOW) is not None


def test_half_a_window_is_refused_where_it_is_the_view(tmp_path):
    path = write(tmp_path / "a.dcm", CT, **BITS, WindowCenter=40)
    with pytest.raises(ValueError, match="must state WindowCenter and WindowWidth"):
        read(path, None)
    assert read(path, WINDOW).shape == (2, 2)


def test_an_inverse_shape_of_monochrome1_inverts_once(tmp_path):
    elements = {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}
    np.testing.assert_allclose(read(write(tmp_path / "a.dcm", RAMP, **elements), None), (255.0 - RAMP) / 255, atol=1e-6)


def test_overlays_in_unused_bits_are_no_values(tmp_path):
    drawn = CT | np.array([[0x8000, 0], [0x1000, 0xF000]], np.uint16)
    path = write(tmp_path / "a.dcm", drawn, **BITS, **RESCALE)
    np.testing.assert_allclose(read(path, WINDOW), [[0, 0.4], [0.5, 1]], atol=1e-6)


def test_a_record_is_settled_in_place():
    record = item(**VIEW, BitsStored=12, BitsAllocated=16, PhotometricInterpretation="MONOCHROME2")
    record.SharedFunctionalGroupsSequence = [
        groups(view={"WindowCenter": 40, "WindowWidth": 400, "VOILUTFunction": "SIGMOID"})
    ]
    assert facts.settle(record, windowed=True) is None
    assert (record.RescaleIntercept, record.VOILUTFunction) == (-1024, "SIGMOID")
