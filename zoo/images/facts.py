"""Facts of a DICOM record that decide what its numbers mean, wherever the standard lets them stand.

They are brought to the record's root, where its readers look, or refused by name. DICOM PS3.3 C.7.6.16.2 (functional
groups), C.7.6.16.2.9 (pixel value transformation), C.7.6.16.2.10 (frame VOI LUT), C.7.6.16.2.11 (real world values).
"""

from typing import Any

import numpy as np

from zoo.registry.words import some

_RESCALE = ("RescaleSlope", "RescaleIntercept")
_WINDOW = ("WindowCenter", "WindowWidth")
_GROUPED = {
    "PixelValueTransformationSequence": (*_RESCALE, "ModalityLUTSequence"),
    "FrameVOILUTSequence": (*_WINDOW, "VOILUTFunction", "VOILUTSequence"),
}
_MAPPING = "RealWorldValueMappingSequence"
# Each would change what is shown, and none is applied here.
_UNHEARD = (
    "AlphaPaletteColorLookupTableData",
    "BlendingLUT1Sequence",
    "DoseGridScaling",
    "EnhancedPaletteColorLookupTableSequence",
    "MaximumFractionalValue",
    "PixelIntensityRelationshipLUTSequence",
    "PresentationLUTSequence",
    "StoredValueColorRangeSequence",
)


def settle(record: Any, *, windowed: bool) -> tuple[float, float] | None:
    """Bring to the root of `record` what its functional groups state, and refuse what is stated but not applied.

    `windowed`: a window in the modality's unit is asked for, so that the unit must be known. Returns the stored values
    that have one, where the file says so.
    """
    groups = _groups(record)
    for name, keywords in _GROUPED.items():
        _gather(record, groups, name, keywords)
    _check_form(record)
    _check_unheard([record, *groups, *(one for group in groups for one in _items(group))])
    _check_whole(record, _RESCALE)
    if not windowed:
        _check_whole(record, _WINDOW)
    elif not record.get("ModalityLUTSequence") and "RescaleSlope" not in record:
        return _take_mapping(record, [record, *groups])
    return None


def _groups(record: Any) -> list[Any]:
    """The groups of all frames, then those of the one frame, which bind."""
    shared = list(record.get("SharedFunctionalGroupsSequence") or [])
    own = list(record.get("PerFrameFunctionalGroupsSequence") or [])
    if len(shared) > 1 or any(group.get(name) != own[0].get(name) for group in own for name in (*_GROUPED, _MAPPING)):
        raise ValueError("its functional groups must be those of one frame, not of several that differ")
    return shared + own[:1]


def _items(group: Any) -> list[Any]:
    return [item for element in group if element.VR == "SQ" for item in element.value]


def _gather(record: Any, groups: list[Any], name: str, keywords: tuple[str, ...]) -> None:
    stated = [item for group in groups for item in (group.get(name) or [])[:1]]
    if not stated:
        return
    for keyword in keywords:
        if keyword in record and keyword in stated[-1] and record.get(keyword) != stated[-1].get(keyword):
            raise ValueError(f"its {keyword} must be one, not one for the file and another for the frame")
        if keyword in record:
            del record[keyword]
        if keyword in stated[-1]:
            record[keyword] = stated[-1][keyword]


def _check_form(record: Any) -> None:
    """Refuse records that contradict themselves, or hold more than the pixels that are read."""
    kind, shape = str(record.get("PhotometricInterpretation")), record.get("PresentationLUTShape") or "IDENTITY"
    if kind.startswith("MONOCHROME"):
        if record.get("SamplesPerPixel", 1) != 1:
            raise ValueError(f"a {kind} image must have one sample a pixel, not {record.SamplesPerPixel}")
        if "RedPaletteColorLookupTableDescriptor" in record or record.get("PixelPresentation") in ("COLOR", "MIXED"):
            raise ValueError("it must not have a supplemental palette, which is not applied")
    if shape not in ("IDENTITY", "INVERSE") or (shape == "INVERSE" and kind == "MONOCHROME2"):
        raise ValueError(f"its PresentationLUTShape must be IDENTITY, or INVERSE of MONOCHROME1, not {shape} of {kind}")
    stored, allocated = int(record.BitsStored), int(record.BitsAllocated)
    if not 0 < stored <= allocated or int(record.get("HighBit", stored - 1)) != stored - 1:
        raise ValueError(
            f"its {stored} stored bits must be the lowest of {allocated}, not those up to {record.HighBit}"
        )


def _check_unheard(places: list[Any]) -> None:
    found = sorted({keyword for keyword in _UNHEARD for place in places if place.get(keyword) is not None})
    if found:
        raise ValueError(f"it must not state {some(found)}, which is not applied")


def _check_whole(record: Any, pair: tuple[str, str]) -> None:
    if (record.get(pair[0]) is None) != (record.get(pair[1]) is None):
        raise ValueError(f"it must state {pair[0]} and {pair[1]}, not one of them")
    if pair == _RESCALE and record.get("ModalityLUTSequence") and record.get(pair[0]) is not None:
        raise ValueError("it must state a rescale or a modality table, not both")


def _take_mapping(record: Any, places: list[Any]) -> tuple[float, float] | None:
    """Where no rescale is stated, real world values are the unit: those of a line over all of the pixels."""
    stated = [item for place in places for item in (place.get(_MAPPING) or [])]
    if not stated:
        return None
    slope, intercept = stated[-1].get("RealWorldValueSlope"), stated[-1].get("RealWorldValueIntercept")
    if len(stated) > 1 or slope is None or intercept is None:
        raise ValueError(f"its {_MAPPING} must be one line, not {len(stated)} or a table")
    if not np.isfinite([slope, intercept]).all():
        raise ValueError(f"its {_MAPPING} must be finite")
    for keyword, value in zip(_RESCALE, (slope, intercept), strict=True):
        record.add_new(keyword, "FD", float(value))
    ends = [stated[-1].get(f"RealWorldValue{end}ValueMapped") for end in ("First", "Last")]
    return None if None in ends else (min(ends), max(ends))
