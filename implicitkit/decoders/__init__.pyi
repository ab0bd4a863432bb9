"""What a plugin may import from this room; docs/plugins.md says what each is for."""

from .base import Condition as Condition, ConditionModel as ConditionModel, Inputs as Inputs
from .liif import LIIF as LIIF
from .local_ensemble import Latent as Latent
from .lte import LTE as LTE
from .mlp import MLP as MLP
from .readout import Bilinear as Bilinear
from .rows import Rows as Rows
from .skip import Skip as Skip, SkipDecoder as SkipDecoder, picture_rows as picture_rows, read_linear as read_linear
