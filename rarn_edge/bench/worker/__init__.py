"""The processes that hold one model each: `client` is the parent's end, `process` the child."""
