"""Labelled face images in every shape users have them."""

from rarn_edge.data.faces import Faces, Split
from rarn_edge.data.load import load_faces
from rarn_edge.data.synthetic import synthetic_faces

__all__ = ["Faces", "Split", "load_faces", "synthetic_faces"]
