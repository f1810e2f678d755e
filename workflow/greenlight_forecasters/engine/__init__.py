"""What static engines share: buffers, packed products, attention, replay, kernels."""
