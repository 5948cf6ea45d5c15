"""Rewrites of a graph that keep its answers: one file each, used by the stages."""
