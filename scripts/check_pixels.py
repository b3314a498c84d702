"""Compares decoding and resampling with Pillow on made-up photos.

    pip install pillow numpy
    python scripts/check_pixels.py

Prints, for each format, how far pixels are from Pillow's, as decoded and after the resize to 256 and the crop of 224 of
ImageNet's evaluation as torchvision has it (bilinear, antialiased). Builds the example `pixels` of onebit-data.
"""

import subprocess
import tempfile
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, features

SIZES = [(500, 375), (375, 500), (640, 480), (1200, 900), (300, 301), (256, 256), (224, 224), (180, 130)]
FORMATS = {
    "JPEG 4:2:0": ("jpg", {"quality": 90}),
    "JPEG 4:4:4": ("jpg", {"quality": 95, "subsampling": 0}),
    "JPEG progressive": ("jpg", {"quality": 75, "progressive": True}),
    "WebP": ("webp", {"quality": 80}),
    "WebP lossless": ("webp", {"lossless": True}),
    "PNG": ("png", {}),
    "BMP": ("bmp", {}),
}


def photo(width, height, random):
    """Noise of all sizes from a few pixels to the whole picture."""
    image = np.full((height, width, 3), 128.0)
    for cell in (2, 4, 16, 50, 100, 200):
        coarse = random.normal(size=(height // cell + 2, width // cell + 2, 3)) * (6 + cell**0.6)
        for channel in range(3):
            plane = Image.fromarray(coarse[..., channel].astype(np.float32))
            image[..., channel] += np.asarray(plane.resize((width, height), Image.BICUBIC))
    return Image.fromarray(image.clip(0, 255).astype(np.uint8))


def fitted(image):
    """torchvision's Resize(256) and CenterCrop(224); an image of 224 x 224 is taken as it is."""
    width, height = image.size
    if (width, height) == (224, 224):
        return image
    if width <= height:
        size = (256, int(256 * height / width))
    else:
        size = (int(256 * width / height), 256)
    image = image.resize(size, Image.BILINEAR)
    left, top = round((size[0] - 224) / 2.0), round((size[1] - 224) / 2.0)
    return image.crop((left, top, left + 224, top + 224))


def apart(found, image):
    expected = np.asarray(image.convert("RGB")).reshape(-1).astype(int)
    return np.abs(np.fromfile(found, np.uint8).astype(int) - expected)


def main():
    random = np.random.default_rng(1)
    photos = [photo(width, height, random) for width, height in SIZES]
    print(f"Pillow {PIL.__version__}, libjpeg-turbo {features.version('libjpeg_turbo')}, libwebp {features.version('webp')}")
    print(f"{'':18} decoded: max  mean   fitted: max  mean")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        files = {}
        for name, (extension, options) in FORMATS.items():
            files[name] = [folder / f"{name} {i}.{extension}".replace(":", "") for i in range(len(photos))]
            for path, image in zip(files[name], photos):
                image.save(path, **options)
        every = [str(path) for paths in files.values() for path in paths]
        command = ["cargo", "run", "--quiet", "--release", "-p", "onebit-data", "--example", "pixels", "--"]
        subprocess.run([*command, str(folder), *every], check=True)
        for name, paths in files.items():
            decoded, scaled = [], []
            for path in paths:
                image = Image.open(path)
                decoded.append(apart(f"{path}.decoded", image))
                scaled.append(apart(f"{path}.fitted", fitted(image.convert("RGB"))))
            decoded, scaled = np.concatenate(decoded), np.concatenate(scaled)
            print(f"{name:18} {decoded.max():12} {decoded.mean():5.2f} {scaled.max():13} {scaled.mean():5.2f}")


if __name__ == "__main__":
    main()
