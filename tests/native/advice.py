"""What the texts about shapes add to the ancestor's words: the input, and the setting that would allow more."""

_SHAPE = """; "shape": "auto" in the model's configuration allows whatever the model can take"""
_BATCH = """; "batch_size": "auto" in the model's configuration allows any that the model can take"""


def unfit(obtained: object, required: object, name: str = "x", *, same_rank: bool = True) -> str:
    words = f"The input data is incorrect. Obtained shape {obtained}, required shape {required}"
    return f"{words} (input '{name}'{_SHAPE if same_rank else ''})"


def wrong_batch(obtained: object, required: object, name: str = "x") -> str:
    words = f"Input batch size is incorrect. Obtained batch size {obtained}, required batch size {required}"
    return f"{words} (input '{name}'{_BATCH})"
