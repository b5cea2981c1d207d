"""What gradients find: features, the networks built of them, guarantees and kernel bounds."""
