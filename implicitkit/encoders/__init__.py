"""Pictures to feature maps, one file per family."""
