"""Images of PIL, which is not imported unless one is given."""

from typing import Any

import numpy as np

# What PIL turns into grey or colours without losing anything but transparency.
_GREY = {"1", "L", "LA", "La"}
_COLOUR = {"P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"}


def pixels(image: Any) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """The pixels of an image of PIL, uint8 [H, W] or [H, W, 3], turned as its Exif block says.

    Raises ValueError for a mode that 8 bits do not hold.
    """
    from PIL import ImageOps

    if image.mode not in _GREY | _COLOUR:
        raise ValueError(
            f"the image has PIL's mode {image.mode}, expected 8 bits for each channel, such as L or RGB"
        )
    upright = ImageOps.exif_transpose(image)
    return np.asarray(upright.convert("L" if image.mode in _GREY else "RGB"))
