"""What stands between an encoder and a decoder: a feature map to a feature map with the same cells."""
