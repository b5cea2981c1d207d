"""Claims of demir2025asymptotic: one gradient step on Gaussian mixtures."""
