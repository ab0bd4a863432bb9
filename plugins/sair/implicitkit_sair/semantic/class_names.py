"""The class names of two data sets, as the paper's experiments use them."""

from __future__ import annotations

CELEBAMASK_HQ = (
    "background, skin, nose, eyeglasses, left eye, right eye, left eyebrow, right eyebrow, left ear, right ear, mouth, "
    "upper lip, lower lip, hair, hat, earring, necklace, neck, clothing"
)
ADE20K = (
    "wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth, door, "
    "table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug, field, "
    "armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column, signboard, "
    "chest of drawers, counter, sand, sink, skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway, "
    "case, pool table, pillow, screen door, stairway, river, bridge, bookcase, blind, coffee table, toilet, flower, "
    "book, hill, bench, countertop, stove, palm, kitchen island, computer, swivel chair, boat, bar, arcade machine, "
    "hovel, bus, towel, light, truck, tower, chandelier, awning, streetlight, booth, television, airplane, dirt track, "
    "apparel, pole, land, bannister, escalator, ottoman, bottle, buffet, poster, stage, van, ship, fountain, "
    "conveyer belt, canopy, washer, plaything, swimming pool, stool, barrel, basket, waterfall, tent, bag, minibike, "
    "cradle, oven, ball, food, step, tank, trade name, microwave, pot, animal, bicycle, lake, dishwasher, screen, "
    "blanket, sculpture, hood, sconce, vase, traffic light, tray, ashcan, fan, pier, crt screen, plate, monitor, "
    "bulletin board, shower, radiator, glass, clock, flag"
)
CLASS_LISTS: dict[str, tuple[str, ...]] = {
    "celebamask_hq": tuple(CELEBAMASK_HQ.split(", ")),
    "ade20k": tuple(ADE20K.split(", ")),
}
"""CelebAMask-HQ's 19 classes and the 150 of ADE20K's scene parsing benchmark, in the order of their labels."""


def named_classes(name: str) -> list[str] | None:
    """The classes of a data set by its name; None if no list is called that. Capitals and ``-`` do not matter.

    >>> len(named_classes("ADE20K")), named_classes("celebamask-hq")[:3]
    (150, ['background', 'skin', 'nose'])
    """
    names = CLASS_LISTS.get(name.strip().lower().replace("-", "_"))
    return None if names is None else list(names)
