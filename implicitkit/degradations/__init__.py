"""Clean pictures to what a model gets to see, one file per kind."""
