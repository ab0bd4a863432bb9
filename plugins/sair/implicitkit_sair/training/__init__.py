"""What SAIR is trained with: the loss, pre-training, prototypes."""
