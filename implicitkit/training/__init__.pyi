"""What a plugin may import from this room; docs/plugins.md says what each is for."""

from .data import TrainingCrops as TrainingCrops
from .callbacks import Callback as Callback, TrainingState as TrainingState
from .loop import StepBatches as StepBatches
from .optimisation.schedule import Schedule as Schedule, learning_rate as learning_rate
