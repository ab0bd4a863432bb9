"""How a step changes the weights: the optimiser, the learning rate over time, and averages of weights."""
