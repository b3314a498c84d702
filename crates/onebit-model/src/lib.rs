//! Graphs of 1-bit convolutional networks, their shapes, costs, architectures and packed file format.
