"""Sequences, callbacks and datasets for Keras, TensorFlow and torch, one framework per module."""
