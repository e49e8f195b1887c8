"""Images as input of the command line."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.errors import UsageError

if TYPE_CHECKING:
    from headrace.client import Client
    from headrace.settings import Settings


def image_row(
    settings: "Settings", path: Path, *, client: "Client", endpoint: str, signature: str, white: float
) -> Any:
    """An image file as a row of an only tensor: its pixels, or itself for a model that decodes it.

    Args:
        settings: Of the project.
        path: The file.
        client: Knows what the endpoint takes.
        endpoint: Its name.
        signature: Which of the model's signatures is asked; empty for the one that is served.
        white: What white is in the tensor.

    Raises:
        SignatureError: There is no such signature, or its tensor takes no image.
        UsageError: It takes no single tensor, or the file is no image.
        Unavailable: The gateway does not answer.
    """
    from headrace.assembly import factory
    from headrace.models.images import encoded, row_of

    inputs = client.metadata(endpoint, signature)["inputs"]
    if len(inputs) == 1 and inputs[0]["datatype"] == "BYTES":
        return encoded(path, inputs[0]["shape"])
    if len(inputs) != 1:
        names = ", ".join(field["name"] for field in inputs)
        raise UsageError(f"endpoint {endpoint!r} takes no image", why=f"it takes {names}", fix="--row or --file")
    images = factory("images.pillow")(settings, "pillow")
    return row_of(images, path, inputs[0]["shape"], most=white)
