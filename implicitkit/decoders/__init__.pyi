"""What a plugin may import from this room; docs/plugins.md says what each is for."""

from .base import (
    Condition as Condition,
    ConditionModel as ConditionModel,
    Inputs as Inputs,
    Question as Question,
)
from .basis.base import BasisDecoder as BasisDecoder
from .gaussians.drawing import Gaussians as Gaussians
from .joint.base import Around as Around, JointDecoder as JointDecoder
from .liif import LIIF as LIIF
from .local_ensemble import Latent as Latent
from .lte import LTE as LTE
from .mlp import MLP as MLP
from .readout import Bilinear as Bilinear
from .rows import Rows as Rows
from .skip import Skip as Skip, SkipDecoder as SkipDecoder, picture_rows as picture_rows, read_linear as read_linear
