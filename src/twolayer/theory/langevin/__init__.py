"""Noisy gradient descent in the mean-field limit: optimum, certificates, rates."""
