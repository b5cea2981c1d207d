"""What training does: gradient flow, SGD and layer-wise training of finite networks."""
