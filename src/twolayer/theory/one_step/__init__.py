"""One gradient step on the first layer: equivalent models and error curves."""
