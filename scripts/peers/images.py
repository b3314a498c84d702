"""Writes made-up images, float32 [N, 3, 224, 224]: noise of all sizes from single pixels to the whole image.

    python scripts/peers/images.py COUNT OUTPUT.npy
"""

import sys

import numpy as np

SIDE = 224
SEED = 1


def main():
    count, output = int(sys.argv[1]), sys.argv[2]
    random = np.random.default_rng(SEED)
    images = np.zeros((count, 3, SIDE, SIDE), np.float32)
    for cell in (1, 4, 16, 56, 112, 224):
        coarse = random.normal(size=(count, 3, SIDE // cell, SIDE // cell))
        images += coarse.repeat(cell, axis=2).repeat(cell, axis=3).astype(np.float32)
    np.save(output, images / images.std())


if __name__ == "__main__":
    main()
