"""Flax modules: convolutional and recurrent layers, decoders, and conversions to other libraries."""
