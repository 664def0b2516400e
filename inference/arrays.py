"""The types of input and output arrays. Does not import torch, which decoding and encoding do not need."""

import numpy as np
import numpy.typing as npt

Frames = npt.NDArray[np.uint8]  # (n, height, width, 3) RGB
Features = npt.NDArray[np.float32]  # (n, ...) a network's intermediate result for each frame
Indices = npt.NDArray[np.int64]  # of frames
Probabilities = npt.NDArray[np.float32]  # (n - 1, 2, 5): pair; forward, backward; labels in the order of core.types.Label
