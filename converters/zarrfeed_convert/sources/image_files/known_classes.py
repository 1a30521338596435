"""What are the classes of well-known datasets, and how do their masks write them?

Data, each table after its publisher: SegNet's CamVid, Brostow's ``label_colors.txt``,
``cityscapesscripts.helpers.labels``, and the Pascal VOC development kit.
"""

from __future__ import annotations

from zarrfeed_convert.mask_map import MaskMap

IGNORED = 255

# SegNet's CamVid: the mask value is the place; 11 is unlabelled.
CAMVID_11 = (
    "Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car",
    "Pedestrian", "Bicyclist",
)  # fmt: skip

# CamVid as it was published, in the order of its label_colors.txt; Void, #000000, is unlabelled.
CAMVID_COLORS = {
    "Animal": 0x408040,
    "Archway": 0xC00080,
    "Bicyclist": 0x0080C0,
    "Bridge": 0x008040,
    "Building": 0x800000,
    "Car": 0x400080,
    "CartLuggagePram": 0x4000C0,
    "Child": 0xC08040,
    "Column_Pole": 0xC0C080,
    "Fence": 0x404080,
    "LaneMkgsDriv": 0x8000C0,
    "LaneMkgsNonDriv": 0xC00040,
    "Misc_Text": 0x808040,
    "MotorcycleScooter": 0xC000C0,
    "OtherMoving": 0x804040,
    "ParkingBlock": 0x40C080,
    "Pedestrian": 0x404000,
    "Road": 0x804080,
    "RoadShoulder": 0x8080C0,
    "Sidewalk": 0x0000C0,
    "SignSymbol": 0xC08080,
    "Sky": 0x808080,
    "SUVPickupTruck": 0x4080C0,
    "TrafficCone": 0x000040,
    "TrafficLight": 0x004040,
    "Train": 0xC04080,
    "Tree": 0x808000,
    "Truck_Bus": 0xC080C0,
    "Tunnel": 0x400040,
    "VegetationMisc": 0xC0C000,
    "Wall": 0x40C000,
}
CAMVID_VOID = 0x000000

# Cityscapes: the id is the place. "license plate" has the id -1, which no mask holds.
CITYSCAPES_34 = (
    "unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground",
    "road", "sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail",
    "bridge", "tunnel", "pole", "polegroup", "traffic light", "traffic sign", "vegetation",
    "terrain", "sky", "person", "rider", "car", "truck", "bus", "caravan", "trailer", "train",
    "motorcycle", "bicycle",
)  # fmt: skip

# The trainId is the place; all others have the trainId 255.
CITYSCAPES_19 = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign",
    "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train",
    "motorcycle", "bicycle",
)  # fmt: skip

# The palette's index is the place; 255 is the border of objects.
VOC_21 = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip


def camvid_colors_to_ids() -> MaskMap:
    """Map CamVid's colours to the places of its classes, Void to `IGNORED`."""
    ids = {color: number for number, color in enumerate(CAMVID_COLORS.values())}
    return MaskMap(colors={**ids, CAMVID_VOID: IGNORED})


def cityscapes_ids_to_train_ids() -> MaskMap:
    """Map Cityscapes' 34 ids to the 19 that are trained; a value that is no id stays."""
    train_ids = {name: number for number, name in enumerate(CITYSCAPES_19)}
    return MaskMap(
        {number: train_ids.get(name, IGNORED) for number, name in enumerate(CITYSCAPES_34)}
    )


def voc_to_ids() -> MaskMap:
    """Map VOC's palette indices, which are ids, and the colours that they show.

    So that masks which some tool has saved as colours mean the same.
    """
    ids = [*range(len(VOC_21)), IGNORED]
    return MaskMap(
        {number: number for number in ids}, {voc_color(number): number for number in ids}
    )


def voc_color(index: int) -> int:
    """Give the colour of VOC's palette, ``0xRRGGBB``.

    Bit 3k of the index is bit 7-k of red, bit 3k+1 of green, bit 3k+2 of blue.

    Examples
    --------
    >>> hex(voc_color(15)), hex(voc_color(255))
    ('0xc08080', '0xe0e0c0')
    """
    color = 0
    for channel, shift in enumerate((16, 8, 0)):
        for bit in range(3):
            color |= (index >> (3 * bit + channel) & 1) << (7 - bit) << shift
    return color
