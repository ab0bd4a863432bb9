"""What the commands on many pictures share: their options, how long they take, processes, and what a model is for."""
