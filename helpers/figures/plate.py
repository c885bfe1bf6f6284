"""The photographs of the plate in `01_inspect`, and what there is to see in each.

They are among the eighteen that are nearest to the median of their class, and were chosen by eye
for parts that are easy to see; places are pixels of the decoded image. What the parts are called
follows the sources that `01_inspect` names.
"""

from helpers.data.photographs import Photographs
from helpers.figures.style import Pointer

# By class: the PBC set's file, and its parts.
PLATE: dict[str, tuple[str, list[Pointer]]] = {
    "basophil": (
        "BA_220744",
        [("lobes", (14, 8), (31, 30), (53, 27)), ("granules", (80, 88), (66, 62))],
    ),
    "eosinophil": (
        "EO_55874",
        [
            ("granules", (16, 8), (31, 33)),
            ("lobe", (86, 9), (61, 27)),
            ("lobe", (86, 88), (60, 72)),
        ],
    ),
    "erythroblast": (
        "ERB_361542",
        [
            ("dense nucleus", (26, 10), (42, 38)),
            ("ring", (86, 58), (64.5, 52)),
            ("red cell", (83, 90), (70, 83)),
        ],
    ),
    "immature granulocytes": (
        "MY_52259",
        [("granules", (81, 8), (58, 21)), ("nucleus", (14, 90), (36, 66))],
    ),
    "lymphocyte": (
        "LY_169905",
        [("nucleus", (78, 10), (52, 36)), ("blue rim", (79, 76), (66, 56))],
    ),
    "monocyte": (
        "MO_474241",
        [
            ("vacuole", (14, 7), (13.5, 34)),
            ("fold", (42, 5), (34.5, 41)),
            ("cytoplasm", (80, 6), (74, 28)),
        ],
    ),
    "neutrophil": (
        "SNE_610263",
        [
            ("lobes", (48, 5), (35, 29), (60, 32)),
            ("thread", (11, 44), (29, 49)),
            ("granules", (80, 90), (57.5, 76)),
        ],
    ),
    "platelet": (
        "PLATELET_391080",
        [("granules", (48, 12), (45, 39)), ("red cell", (26, 88), (55, 80))],
    ),
}


def find(photographs: Photographs) -> list[tuple[int, list[Pointer]]] | None:
    """Return the row of each class's photograph and its parts, in the order of the classes.

    None for images that are not the PBC set's: nobody has looked at them.
    """
    if photographs.source.name != "mirror" or photographs.file_names is None:
        return None
    stems = (name.split("/")[-1].split(".")[0] for name in photographs.file_names)
    row_of = {stem: row for row, stem in enumerate(stems)}
    chosen = [PLATE[name] for name in photographs.class_names]
    if not all(stem in row_of for stem, _ in chosen):
        return None
    return [(row_of[stem], pointers) for stem, pointers in chosen]
