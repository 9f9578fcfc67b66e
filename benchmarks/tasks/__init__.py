"""Three tasks that are not image classification, each from one ordinary `build_model(hp)`.

Pixels of scenes (a U-Net), docstrings (a Transformer), and a number with its uncertainty (a Gaussian head).
"""
