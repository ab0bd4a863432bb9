"""What a plugin may import from this room; docs/plugins.md says what each is for."""

from .data import TrainingCrops as TrainingCrops
from .loop import StepBatches as StepBatches
from .schedule import learning_rate as learning_rate
