"""An embedding for each class of a labelled folder from pictures, where an encoder has no words.

    python plugins/sair/studies/class_means.py FOLDER MODEL OUTPUT.npy

FOLDER is laid out as ADE20K's benchmark. A class's embedding is the mean of the encoder's features, each of length one,
at its pixels. A class that FOLDER does not show gets the opposite of the mean of all others, which features that are
mostly positive are never near. For ``implicitkit evaluate --protocol segmentation --set embeddings=OUTPUT.npy``: on the
same pictures, that says what holes do to the meaning and what completing it brings back, not how well it generalises.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import implicitkit as ik
from implicitkit import read_image
from implicitkit_sair.segmentation.label_maps import LabelledFolder, read_label_map
from implicitkit_sair.segmentation.labelling import before_completion, semantic_field


@torch.no_grad()
def class_means(folder: LabelledFolder, model: ik.ImplicitModel) -> Tensor:
    """``(K, D)``, a row for each class."""
    sums: Tensor | None = None
    for picture, map_file in folder.pairs.values():
        truth = read_label_map(map_file, len(folder.names))
        field = before_completion(semantic_field(model.encode(read_image(picture))))
        for window, values in field.blocks(tuple(truth.shape)):
            labels, features = truth[window].flatten(), F.normalize(values[0].flatten(1).T, dim=1)
            if sums is None:
                sums = torch.zeros(len(folder.names), features.shape[1])
            sums.index_add_(0, labels[labels >= 0], features[labels >= 0])
    assert sums is not None
    shown = sums.norm(dim=1) > 0
    sums[shown] = F.normalize(sums[shown], dim=1)
    sums[~shown] = -sums[shown].mean(0)
    return sums


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model", help="a semantic model, or one that reads one")
    parser.add_argument("output", type=Path)
    chosen = parser.parse_args()
    np.save(chosen.output, class_means(LabelledFolder.open(chosen.folder), ik.load_model(chosen.model).eval()).numpy())


if __name__ == "__main__":
    main()
