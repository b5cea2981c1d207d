"""Theory and simulation of two-layer neural networks where they learn features."""
