"""Where images come from: FER-2013 in any of its forms, other labelled images, or drawn faces."""

from typing import TYPE_CHECKING, Any

from rarn_edge.data.faces import Faces, Split
from rarn_edge.data.load import load_faces

if TYPE_CHECKING:
    from rarn_edge.data.synthetic import synthetic_faces

__all__ = ["Faces", "Split", "load_faces", "synthetic_faces"]


def __getattr__(name: str) -> Any:
    """Drawing needs OpenCV, which a device that checks a parity bundle may not have."""
    if name == "synthetic_faces":
        from rarn_edge.data.synthetic import synthetic_faces

        return synthetic_faces
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
